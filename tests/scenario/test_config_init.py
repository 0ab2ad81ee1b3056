"""`tailrace config init`: a file to begin with. Invariants: what it writes is taken by `config check`, as it is
and with each of its settings out of its comment, and runs; nothing is written over; no password is in it unasked."""
import os
import re
import stat

import pytest

from tailrace import run

TARGETS = {"duckdb": "duckdb:shop.duckdb", "postgres": "postgres://app@new/shop"}


def init(folder, *arguments, code=0):
    here = os.getcwd()
    os.chdir(folder)
    try:
        outcome = run("config", "init", *arguments)
    finally:
        os.chdir(here)
    assert outcome.returncode == code, outcome
    return outcome


def check(file, code=0):
    outcome = run("config", "check", "-c", file)
    assert outcome.returncode == code, outcome
    return outcome.stdout


@pytest.mark.parametrize("kind", TARGETS)
def test_it_is_read(tmp_path, kind):
    outcome = init(tmp_path, "postgres://app@db/shop", TARGETS[kind])
    assert "wrote tailrace.yaml" in outcome.stdout and "tailrace run -c tailrace.yaml" in outcome.stdout
    file = tmp_path / "tailrace.yaml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text(encoding="utf-8")
    plain = check(file)
    assert "source: postgres://app@db/shop" in plain and f"target: {TARGETS[kind]}" in plain, plain
    # A setting's comment has no blank; prose has.
    settings = [line for line in text.splitlines() if re.match(r"#(?:  )*\S", line)]
    assert len(settings) > 15 and len([line for line in text.splitlines() if line.startswith("# ")]) > 10
    whole = tmp_path / "whole.yaml"
    whole.write_text(re.sub(r"^#(?=\S| {2})", "", text, flags=re.MULTILINE), encoding="utf-8")
    described = check(whole)
    shown = re.sub(r"(?m)^((tables|types):\n(?: .*\n)+|http:.*\n|  wal_room:.*\n|file_mode:.*\n)", "", described)
    unset = re.sub(r"(?m)^tables:\n(?: .*\n)+", "", plain)
    assert shown == unset, "what is shown is the default"


def test_what_is_given(tmp_path):
    odd = 'a "quoted" ${HOME} \\ name'
    init(tmp_path, "host=/run/db,other port=5432,6432 dbname='my shop' user=app sslmode=require", f"duckdb:{odd}",
         "-c", "it.yaml", "--name", "shop", "-t", "public.*", "-t", "!public.audit_*", "--slot", "its_slot",
         "--publication", "one", "--publication", "two")
    plain = check(tmp_path / "it.yaml")
    assert "name: shop" in plain and "its_slot" in plain and "!public.audit_*" in plain, plain
    assert re.search(r"name:\s+- one\s+- two", plain), plain
    assert odd in plain.replace('\\"', '"').replace("\\\\", "\\"), plain


def test_nothing_is_written_over(tmp_path):
    file = tmp_path / "tailrace.yaml"
    file.write_text("mine", encoding="utf-8")
    outcome = init(tmp_path, "postgres://app@db/shop", "duckdb:shop.duckdb", code=3)
    assert "it is there already" in outcome.stderr and file.read_text(encoding="utf-8") == "mine"
    (tmp_path / "link.yaml").symlink_to(tmp_path / "elsewhere.yaml")
    init(tmp_path, "postgres://app@db/shop", "duckdb:shop.duckdb", "-c", "link.yaml", code=3)
    assert not (tmp_path / "elsewhere.yaml").exists()
    init(tmp_path, "postgres://app@db/shop", "-c", "other.yaml", code=2)
    assert not (tmp_path / "other.yaml").exists()


@pytest.mark.parametrize("source", ["postgres://app:geheim@db:5433/shop?sslmode=require&application_name=x",
                                    "host=db port=5433 user=app password=geheim dbname=shop",
                                    "postgres://app@db/shop?password=geheim"])
def test_passwords(tmp_path, source):
    outcome = init(tmp_path, source, "postgres://app:geheim@[::1]:5432/shop")
    file = tmp_path / "tailrace.yaml"
    assert "geheim" not in file.read_text(encoding="utf-8") and "geheim" not in outcome.stdout
    assert "PGPASSFILE" in outcome.stdout
    assert "postgres://app@db" in check(file)
    init(tmp_path, source, "postgres://app:geheim@[::1]:5432/shop", "-c", "with.yaml", "--with-password")
    file = tmp_path / "with.yaml"
    assert file.read_text(encoding="utf-8").count("geheim") == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "geheim" not in check(file)


@pytest.mark.parametrize("kind", TARGETS)
def test_it_runs(shop_into, kind, tmp_path):
    """The password from the environment, as the hint says."""
    shop = shop_into(kind)
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 10);"
                 "CREATE TABLE audit_log (id int PRIMARY KEY)")
    init(tmp_path, shop.url, shop.mirror.target, "--name", shop.name, "-t", "public.*", "-t", "!public.audit_*")
    outcome = run("run", "-c", tmp_path / "tailrace.yaml", "--once")
    assert outcome.returncode == 0, outcome.stderr
    assert shop.mirror.into.tables() == {"public.t"}
    assert shop.mirror.into.rows() == 10
