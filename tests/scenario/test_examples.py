"""The examples of README and docs, as a reader would type them: every command and every SQL of every page runs, in the
page's order, against servers of its own. What cannot run here says why. (test_pages.py looks at the rest of a page.)"""
import re
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from cluster import PgCluster
from examples import REPOSITORY, blocks, named, pages
from host import Host
from waiting import wait_until


@dataclass
class Story:
    """What a page's examples need besides what is on it, by the beginning of a command.

    first    what happens before it
    files    the names under which its configurations are saved, in order; None: it is only checked
    not_run  why it cannot run here
    """

    first: dict = field(default_factory=dict)
    files: list = field(default_factory=list)
    not_run: dict = field(default_factory=dict)
    begin: object = None


SYSTEMD = "no systemd runs here; test_service_manager.py speaks its protocol"


def refused_row(host):
    """A run that stopped at a row which the target's own constraint refuses."""
    host.type("tailrace run postgres://app@old/shop postgres://app@new/shop")
    host.target.execute("ALTER TABLE orders ADD CHECK (total > 0)", "shop")
    host.source.execute("INSERT INTO orders (total) VALUES (-5)", "shop")
    host.lsn = re.search(r"source's transaction at ([0-9A-F/]+)", host.wait_ended(3))[1]


def quarantined_row(host):
    (host.folder / "quarantine.yaml").write_text(host.written(
        "source: postgres://app@old/shop\ntarget: postgres://app@new/shop\non_error: quarantine\n"))
    host.type("tailrace run -c quarantine.yaml")
    host.source.execute("INSERT INTO orders (total) VALUES (-7)", "shop")
    wait_until(lambda: host.target.value("SELECT count(*) FROM tailrace.quarantine", "shop") == 1, what="quarantine")


def allow_it(host):
    host.target.execute("ALTER TABLE orders DROP CONSTRAINT orders_total_check", "shop")


def note_position(host):
    host.lsn = host.source.value("SELECT pg_current_wal_insert_lsn()::text", "shop")
    save_shop(host)


def save_shop(host):
    """The page's shop.yaml, into a PostgreSQL target as of the position that was just noted."""
    (block,) = [block for block in blocks(REPOSITORY / "docs/start-from-a-dump.md") if "# shop.yaml" in block.text]
    (host.folder / "shop.yaml").write_text(host.written(block.text))


def file_without_copy(host):
    host.stop_all()
    host.type("tailrace teardown $SOURCE $TARGET --name shop")
    host.source.execute("DROP PUBLICATION shop", "shop")


def follow_the_file(host):
    (host.folder / "shop.yaml").write_text(f"name: shop\nsource: {host.env['SOURCE']}\n"
                                           "target: duckdb:shop.duckdb\nsnapshot: {enabled: off}\n")


def a_service_and_its_file(host):
    """One that was stopped: then nothing lies beside its file."""
    host.type("tailrace run postgres://app@db/shop duckdb:shop.duckdb")
    host.stop_all()
    assert [path.name for path in host.folder.glob("shop.duckdb*")] == ["shop.duckdb"]
    host.replaced |= {"/var/lib/tailrace/shop.duckdb": "shop.duckdb", "/srv/reports/shop.duckdb": "copied.duckdb"}


def with_addresses(host):
    host.env["SOURCE"] = host.written("postgres://app@db/shop")
    host.env["TARGET"] = host.written("postgres://app@new/shop")


def a_mirror_and_its_file(host):
    host.type("tailrace run postgres://app@old/shop postgres://app@new/shop")
    (host.folder / "tailrace.yaml").write_text(host.written(
        "source: postgres://app@old/shop\ntarget: postgres://app@new/shop\n"))


def without_roles(host):
    for server in (host.source, host.target):
        server.execute("DROP ROLE app")
    host.source.execute("CREATE ROLE maker; ALTER TABLE orders OWNER TO maker", "shop")


def with_certificates(host):
    host.replaced["/etc/tailrace/ca.crt"] = str(host.source.encrypt_by_authority())
    host.source.restart()


def a_lost_slot_and_another_mirror(host):
    """And one of another name into PostgreSQL, which was stopped."""
    host.type("tailrace run postgres://app@old/shop postgres://app@new/shop --name shop")
    host.type("tailrace run postgres://app@db/shop duckdb:shop.duckdb")
    host.stop_all()
    wait_until(lambda: not host.source.execute("SELECT 1 FROM pg_replication_slots WHERE active"), what="free slots")
    host.source.execute("SELECT pg_drop_replication_slot('tailrace')", "shop")
    host.replaced["~/.local/state/tailrace"] = str(host.folder / "state")


STORIES = {
    "README.md": Story(
        first={"tailrace check": Host.anew},
        not_run={"make demo": "builds; test_demo.py runs the demo",
                 "make install": "test_package.py installs"}),
    "docs/bad-rows.md": Story(
        first={"tailrace skip": refused_row, "psql": quarantined_row, "tailrace replay": allow_it}),
    "docs/monitoring.md": Story(not_run={"systemd-sysusers": SYSTEMD, "systemctl": SYSTEMD}),
    "docs/operations.md": Story(
        first={"cp": a_service_and_its_file},
        not_run={"systemctl": SYSTEMD}),
    "docs/permissions.md": Story(begin=without_roles),
    "docs/postgres-target.md": Story(
        files=["b_to_a.yaml"],
        first={"tailrace run postgres://app@a/shop": Host.anew}),
    "docs/repairs.md": Story(begin=a_lost_slot_and_another_mirror),
    "docs/start-from-a-dump.md": Story(
        begin=with_addresses,
        first={"pg_restore": note_position, "tailrace init": file_without_copy, "tailrace snapshot": follow_the_file}),
    "docs/tls.md": Story(begin=with_certificates),
    "docs/verify.md": Story(begin=a_mirror_and_its_file),
}


@pytest.fixture(scope="module")
def servers():
    with PgCluster(15) as source, PgCluster(15) as target:
        yield source, target


@pytest.fixture
def host(servers, tmp_path):
    host = Host(tmp_path, *servers)
    yield host
    host.stop_all()


def examples(page):
    return [block for block in blocks(page) if block.kind == "sh" or block.kind.startswith("sql ")]


def test_every_page_with_examples_has_its_story():
    mine = [page for page in pages() if page.parent.name not in ("dev", "bench")]
    assert {named(page) for page in mine if examples(page)} == set(STORIES)


@pytest.mark.parametrize("page", STORIES)
def test_examples(page, host):
    story = STORIES[page]
    if story.begin:
        story.begin(host)
    unused = set(story.not_run)
    seen = defaultdict(int)
    for name, block in zip(story.files, [it for it in blocks(REPOSITORY / page) if it.kind == "yaml"]):
        if name:
            (host.folder / name).write_text(host.written(block.text), encoding="utf-8")
    for block in examples(REPOSITORY / page):
        if block.kind != "sh":
            host.sql(block.kind.split()[1], block.text)
            continue
        for line in block.commands():
            reason = next((begin for begin in story.not_run if line.startswith(begin)), None)
            if reason:
                unused.discard(reason)
                continue
            for begin, work in story.first.items():
                if line.startswith(begin) and not seen[begin]:
                    seen[begin] += 1
                    work(host)
            host.type(line)
    assert not unused, f"nothing on {page} begins so: {unused}"
