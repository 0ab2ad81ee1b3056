"""Roles that are no superusers. Invariants: with what docs/permissions.md grants everything works; with less, what does
not is said, and `check` says it beforehand; and TLS is as docs/tls.md says."""
import json
import re

import pytest

from cluster import PgCluster
from examples import REPOSITORY, blocks
from host import Host
from tailrace import run

FOLLOW = "tailrace run postgres://app@db/shop postgres://app@new/shop"
BOTH = "postgres://app@db/shop postgres://app@new/shop"


@pytest.fixture(scope="module")
def servers():
    with PgCluster(15) as source, PgCluster(15) as target:
        yield source, target


@pytest.fixture
def host(servers, tmp_path):
    """`app` may what the page says, and what is published belongs to somebody else."""
    host = Host(tmp_path, *servers)
    for server in servers:
        server.execute("DROP ROLE app")
    host.source.execute("CREATE ROLE maker; ALTER TABLE orders OWNER TO maker", "shop")
    yield host
    host.stop_all()


def granted(host, but=""):
    """The page's SQL, without the statements that hold `but`."""
    for block in blocks(REPOSITORY / "docs/permissions.md"):
        if block.kind.startswith("sql "):
            statements = [it for it in re.sub(r"--.*", "", block.text).split(";") if not but or but not in it]
            host.sql(block.kind.split()[1], ";".join(statements))
    host.type("tailrace init postgres://admin@db/shop")


def failed(host):
    """The titles of what `check` finds wrong, with the SQL that helps."""
    said = json.loads(host.type(f"tailrace check {BOTH} --json || true"))
    return {check["title"]: check["remedy"] for check in said if check["verdict"] == "fail"}


def test_what_the_page_grants_is_enough(host):
    granted(host)
    assert failed(host) == {}
    host.type(FOLLOW)
    host.source.execute("INSERT INTO orders (total) VALUES (7); UPDATE customers SET email = 'x'; DELETE FROM orders"
                        " WHERE id < 10", "shop")
    assert "not marked" not in (host.folder / "tailrace.log").read_text()
    for command in ("verify", "verify --repair", "sync-sequences", "refresh", "status"):
        name, *options = command.split()
        given = BOTH if name in ("verify", "sync-sequences") else "postgres://app@new/shop"
        host.type(" ".join(["tailrace", name, given, *options]))
    assert host.target.value("SELECT count(*) FROM orders WHERE total = 7", "shop") == 1
    host.source.execute("SET ROLE maker; ALTER TABLE orders ADD note text; INSERT INTO orders (note) VALUES ('n')",
                        "shop")
    host.type(f"tailrace verify {BOTH}")
    host.stop_all()
    host.type(f"tailrace teardown {BOTH}", code=3)  # the publication is admin's
    host.type("tailrace teardown postgres://admin@db/shop")
    assert host.target.value("SELECT count(*) FROM pg_replication_origin") == 0
    assert host.target.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'tailrace'", "shop") == 0


def test_without_the_functions_of_origins(host):
    """It works, says that nobody can tell its changes from others, and takes its books away all the same."""
    granted(host, but="pg_replication_origin")
    host.type(FOLLOW)
    assert "not marked with a replication origin" in (host.folder / "tailrace.log").read_text()
    host.type(f"tailrace verify {BOTH}")
    host.stop_all()
    host.type(f"tailrace teardown {BOTH}", code=3)
    assert host.target.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'tailrace'", "shop") == 0


@pytest.mark.parametrize("statement, title", [
    ("SELECT ON ALL TABLES IN SCHEMA public TO app", "SELECT privilege"),
    ("CREATE ON DATABASE", "tailrace's own schema"),
    ("USAGE, CREATE ON SCHEMA", "making tables"),
    ("SET ON PARAMETER", "session_replication_role"),
])
def test_check_names_what_is_missing(host, statement, title):
    """And its SQL is enough."""
    granted(host, but=statement)
    missing = failed(host)
    assert list(missing) == [title]
    host.stop_all()
    server = host.source if title == "SELECT privilege" else host.target
    server.execute(missing[title], "shop")
    assert failed(host) == {}


def test_certificates(own_cluster, shop_on, pair_on, tmp_path):
    """By an authority of one's own, verified in full, at both ends; a stranger's is refused at once, at either."""
    source, target, other = own_cluster(), own_cluster(), own_cluster()
    authority = {server: server.encrypt_by_authority() for server in (source, target, other)}
    source.restart()
    target.restart()
    pair = pair_on(source, target)
    pair.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)")

    plain = (pair.url, pair.mirror.into.url)

    def urls(*signers):
        pair.mirror.source, pair.mirror.into.url = (
            f"{url.replace('127.0.0.1', 'localhost')}?sslmode=verify-full&sslrootcert={authority[signer]}"
            for url, signer in zip(plain, signers))
        pair.mirror.configure()

    for signers in ((other, target), (source, other)):
        urls(*signers)
        pair.mirror.start()
        assert pair.mirror.wait_ended() == 3
        assert "certificate verify failed" in pair.mirror.tail(2) and "sslrootcert=FILE" in pair.mirror.tail(2)
        assert not pair.mirror.into.exists()
    urls(source, target)
    outcome = run("check", "-c", pair.mirror.config)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    with pair.mirror:
        pair.mirror.wait_caught_up(source)
        for server, least in ((source, 2), (target, 3)):
            (all_of_them, connections), = server.execute(
                "SELECT bool_and(ssl), count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                f" WHERE application_name LIKE '{pair.name}%' AND backend_type <> 'walsender'")
            assert all_of_them and connections >= least
        assert source.value("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)")
        pair.verified()
        pair.mirror.stop()
    assert pair.compared() == 100
