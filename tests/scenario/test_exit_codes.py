"""Exit codes are those of docs/status.md, and say in one sentence what to do."""
import subprocess

import pytest

from lsn import lsn
from tailrace import BINARY, run

WRONG = [
    (["run", "postgres://u:p@ss@h/d", "duckdb:x.duckdb"], "source: the connection string"),
    (["run", "postgres://u@h/d", "postgres://u:p@ss@h/d"], "target: the connection string"),
    (["check", "postgres://u@h/d?sslmode=bogus"], 'source: invalid sslmode value: "bogus": one of disable, allow,'),
    (["check", "service=no_such_service"], "no_such_service"),
    (["run", "postgres://u@h/d?nonsense=1", "duckdb:x.duckdb"], "source: the connection string"),
    (["run", "postgres://u@h/d", "duckdb:/tmp"], "target: /tmp is a directory"),
    (["run", "postgres://u@h/d", "duckdb:md:shop"], "target: must name a file of this host"),
    (["run", "postgres://u@h/d", "duckdb:s3://bucket/x"], "target: must name a file"),
    (["run", "postgres://u@h/d", "duckdb:x.duckdb", "--readers", "0"], "--readers"),
    (["verify", "duckdb:x.duckdb", "--continuous", "--rate", "0"], "--rate: Value 0 not in range 1 to 1000000000\n"),
    (["bogus"], "there is no command 'tailrace bogus'"),
    (["config", "show"], "there is no command 'tailrace config show'"),
    (["status", "--name", "no-such-mirror-at-all"], None),
]


@pytest.mark.parametrize("arguments, words", WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_wrong_usage(arguments, words, tmp_path):
    outcome = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path,
                             check=False)
    assert outcome.returncode == (2 if words else 1), outcome
    assert words is None or words in outcome.stderr, outcome
    assert "p@ss" not in outcome.stderr
    assert not list(tmp_path.iterdir()), "nothing is made"


def test_no_command_at_all():
    outcome = run()
    assert outcome.returncode == 2 and "Usage:" in outcome.stdout and "SUBCOMMAND" in outcome.stdout.upper(), outcome


def test_a_database_that_is_not_there(shop, tmp_path):
    outcome = run("run", shop.url.replace(f"/{shop.name}", "/none_of_it"), f"duckdb:{tmp_path}/x.duckdb")
    assert outcome.returncode == 3 and "CREATE DATABASE" in outcome.stderr, outcome


@pytest.mark.duckdb("a file's place")
def test_a_file_in_a_folder_that_is_not_there(shop, tmp_path):
    outcome = run("run", shop.url, f"duckdb:{tmp_path}/nosuch/m.duckdb", "--name", shop.name)
    assert outcome.returncode == 3 and "Name a file in a folder that is there" in outcome.stderr, outcome.stderr
    assert shop.value("SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots"
                      " WHERE database = current_database())") == 0


@pytest.mark.duckdb("a file")
def test_a_file_that_is_damaged(shop, tmp_path):
    with shop.mirror:
        shop.mirror.wait_streaming()
        shop.mirror.stop()
    with open(shop.mirror.file, "r+b") as file:
        file.seek(4096)
        file.write(b"x" * 8192)
    shop.mirror.start()
    assert shop.mirror.wait_ended() == 4 and "move it away" in shop.mirror.log_text(), shop.mirror.tail()


def test_a_server_that_is_down(tmp_path):
    outcome = run("run", "postgres://u@127.0.0.1:1/d", f"duckdb:{tmp_path}/x.duckdb")
    assert outcome.returncode == 5, outcome
    for wrong in ("?.", "\t", "Is the server running"):
        assert wrong not in outcome.stderr, outcome


def test_the_address_that_answers_says_more(cluster):
    """Of several, the first of which is closed: libpq tells of each, one after the other."""
    outcome = run("check", f"host=127.0.0.1,127.0.0.1 port=1,{cluster.port} user=postgres dbname=none_of_it")
    assert outcome.returncode == 3 and "CREATE DATABASE" in outcome.stderr, outcome
    for wrong in ("?", "\t", "Is the server running"):
        assert wrong not in outcome.stderr, outcome


def test_a_certificate_of_somebody_else(own_cluster, shop_on, tmp_path):
    """No waiting mends it: told at once, and with what to do."""
    cluster = own_cluster(15)
    shop = shop_on(cluster)
    shop.execute("CREATE TABLE t (id int PRIMARY KEY)")
    cluster.encrypt()
    cluster.restart()
    signer = tmp_path / "signer.crt"
    signer.write_bytes((cluster.data / "server.crt").read_bytes())
    wrong = ((f"sslmode=verify-full&sslrootcert={signer}", "does not match host name", "Connect by a name"),
             ("sslmode=verify-ca", "root certificate file", "sslrootcert=FILE"))
    for settings, words, remedy in wrong:
        shop.mirror.source = f"{shop.url}?{settings}"
        shop.mirror.configure()
        shop.mirror.start()
        assert shop.mirror.wait_ended() == 3, shop.mirror.tail()
        assert words in shop.mirror.log_text() and remedy in shop.mirror.log_text()
        assert not shop.mirror.into.exists()


@pytest.mark.parametrize("command", ["status", "list", "check"])
def test_a_reader_that_goes_away(shop, command):
    """`head` has seen enough."""
    shop.execute("".join(f"CREATE TABLE {'t' * 50}{n} (id int);" for n in range(700)))
    with shop.mirror:
        shop.mirror.wait_streaming()
        arguments = {"status": shop.mirror.named(), "list": ["--json"], "check": [shop.url, "--json"]}[command]
        with subprocess.Popen([BINARY, command, *map(str, arguments)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            process.stdout.close()
            said = process.stderr.read().decode()
        assert process.returncode in ((0, 1) if command == "check" else (0,)), said
        assert said == ""
        shop.mirror.stop()


@pytest.mark.parametrize("command", ["status", "list", "version"])
def test_a_disk_that_is_full(shop, command):
    """Whoever reads the answer from a file must not take an empty one for an answer."""
    shop.execute("CREATE TABLE t (id int)")
    with shop.mirror:
        shop.mirror.wait_streaming()
        arguments = {"status": shop.mirror.named(), "list": ["--json"], "version": []}[command]
        with open("/dev/full", "w") as full:
            outcome = subprocess.run([BINARY, command, *map(str, arguments)], stdout=full, stderr=subprocess.PIPE)
        assert outcome.returncode not in (0, 1), outcome
        assert b"No space left" in outcome.stderr
        shop.mirror.stop()


@pytest.mark.parametrize("running", [True, False])
def test_a_skip_far_ahead(shop, running):
    """A slip of the keyboard would wait for years; one that is possible can be taken back."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY)")
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    if not running:
        shop.mirror.stop()
    outcome = run("skip", "-c", shop.mirror.config, "--lsn", "FF/0")
    assert outcome.returncode == 3 and "the source has written no further than" in outcome.stderr, outcome
    before = shop.value("SELECT pg_current_wal_insert_lsn()::text")
    shop.execute("INSERT INTO t VALUES (1)")
    if running:
        shop.mirror.wait_caught_up(shop.cluster)
        outcome = run("skip", "-c", shop.mirror.config, "--lsn", "FF/0", "--forget")
        assert outcome.returncode == 3 and "no note to leave out" in outcome.stderr, outcome
    else:
        assert lsn(before) > 0
        outcome = run("skip", "-c", shop.mirror.config, "--lsn", before)
        assert outcome.returncode == 0 and "--forget" in outcome.stdout, outcome
        for code in (0, 3):
            assert run("skip", "-c", shop.mirror.config, "--lsn", before, "--forget").returncode == code
        shop.mirror.start()
        shop.mirror.wait_caught_up(shop.cluster)
        assert shop.mirror.status()["skips"] == []
    assert shop.settle() == 1
