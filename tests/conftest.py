"""Fixtures of all end-to-end tests: servers shared by the session, databases and mirrors that are not."""
import itertools
import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS / "support"))


def pytest_addoption(parser):
    parser.addoption("--sanitized", action="store_true", help="test build/sanitize, with more patience")
    parser.addoption("--target", choices=("duckdb", "postgres"), default="duckdb",
                     help="what mirrors follow into: a DuckDB file (default) or a PostgreSQL database")
    if "--sanitized" in sys.argv:
        os.environ.setdefault("TAILRACE_BIN", str(TESTS.parent / "build/sanitize/src/cli/tailrace"))
        os.environ.setdefault("TAILRACE_PATIENCE", "4")
        os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99")
        os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")


from cluster import VERSIONS, PgCluster  # noqa: E402
from tailrace import Tailrace  # noqa: E402
from targets import DuckdbTarget, PostgresTarget  # noqa: E402

DEFAULT_VERSION = 15
serial = itertools.count(1)


def pytest_collection_modifyitems(config, items):
    """With --target postgres: skips what is said to be about DuckDB files only (the marker says why). If whole folders
    are run, leaves out what is the same whatever --target says: `make test` ran it."""
    if config.getoption("--target") == "duckdb":
        return
    if not any(".py" in argument for argument in config.args):
        same = [item for item in items if "target_server" not in item.fixturenames]
        config.hook.pytest_deselected(items=same)
        items[:] = [item for item in items if "target_server" in item.fixturenames]
    for item in items:
        marker = item.get_closest_marker("duckdb")
        if marker:
            item.add_marker(pytest.mark.skip(reason=f"DuckDB only: {marker.args[0]}"))


class Clusters:
    """Running servers, started when first asked for: per version one for sources and one for targets. (On one server,
    what is written to the target moves the source's WAL on, and no position ever is the last.)"""

    def __init__(self):
        self._running = {}

    def __getitem__(self, version):
        return self._start(version, "source")

    def target(self, version):
        return self._start(version, "target")

    def _start(self, version, role):
        if (version, role) not in self._running:
            self._running[version, role] = PgCluster(version).start()
        return self._running[version, role]

    def close(self):
        for cluster in self._running.values():
            cluster.close()


class Shop:
    """A database of its own on a server, and the mirror that is to follow it.

    target_server  where the mirror's database is; None for a DuckDB file
    """

    def __init__(self, cluster, directory, target_server=None):
        self.cluster = cluster
        self.directory = directory
        self.target_server = target_server
        self.name = f"t{next(serial)}"
        self.cluster.create_database(self.name)
        self.mirrors = []
        self.mirror = self.another()

    @property
    def url(self):
        return self.cluster.url(self.name)

    def another(self, name=None, source=None, into=None, **settings):
        """One more mirror, by default with its own slot, publication and target."""
        name = name or (self.name if not self.mirrors else f"{self.name}_{len(self.mirrors)}")
        directory = self.directory / f"mirror{len(self.mirrors)}"
        directory.mkdir()
        into = into or self._new_target(directory, f"{self.name}_target{len(self.mirrors) or ''}")
        self.mirrors.append(Tailrace(source or self.url, directory, name, into, **settings))
        return self.mirrors[-1]

    def _new_target(self, directory, database):
        if self.target_server is None:
            return DuckdbTarget(directory / "mirror.duckdb")
        return PostgresTarget(self.target_server, database)

    def target_on(self, server):
        """Moves a PostgreSQL target to another server, before anything is there. None for a DuckDB file changes
        nothing."""
        if self.target_server is not None:
            self.mirror.into.close()
            self.target_server = server
            self.mirror.into = self._new_target(self.mirror.directory, f"{self.name}_target")
            self.mirror.configure()
        return self

    def execute(self, sql):
        return self.cluster.execute(sql, self.name)

    def value(self, sql):
        return self.cluster.value(sql, self.name)

    def connect(self, **options):
        return self.cluster.connect(self.name, **options)

    def settle(self, mirror=None, timeout=60, **how):
        """Lets the mirror catch up, ends it, and compares every row. The invariant of most tests: at the
        checkpoint's LSN the target equals the source. Returns the number of rows."""
        mirror = mirror or self.mirror
        mirror.wait_caught_up(self.cluster, timeout)
        mirror.stop()
        return self.compared(mirror, **how)

    def compared(self, mirror=None, **how):
        """Compares every row, independently of the program's code. Returns the number of rows."""
        return (mirror or self.mirror).into.compare(self.cluster, self.name, **how)

    def verified(self, mirror=None):
        """The program's own proof, while it runs."""
        outcome = (mirror or self.mirror).verify()
        assert outcome.returncode == 0, f"verify: {outcome.stdout}\n{outcome.stderr}"
        return outcome.stdout

    def close(self):
        for mirror in self.mirrors:
            mirror.close()
        for into in {id(mirror.into): mirror.into for mirror in self.mirrors}.values():
            into.close([mirror.name for mirror in self.mirrors])
        self.cluster.drop_database(self.name)


@pytest.fixture(scope="session", autouse=True)
def state(tmp_path_factory):
    """Mirrors of tests note themselves where no other process of this host looks, and the reverse. Open to the other
    users that some tests act as, as far as one's own folder may be."""
    os.environ["TAILRACE_STATE"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session")
def clusters():
    clusters = Clusters()
    yield clusters
    clusters.close()


@pytest.fixture
def cluster(clusters):
    """The shared server that most tests use. Tests that change its settings make their own."""
    return clusters[DEFAULT_VERSION]


@pytest.fixture
def target_server(request, clusters):
    """Where a source's target goes by default: a server of the same version, or None for a DuckDB file."""
    kind = request.config.getoption("--target")
    return lambda version: clusters.target(version) if kind == "postgres" else None


@pytest.fixture
def shop(cluster, target_server, tmp_path):
    shop = Shop(cluster, tmp_path, target_server(cluster.version))
    yield shop
    shop.close()


@pytest.fixture
def shop_on(clusters, target_server, tmp_path):
    """A factory: shop_on(version) or shop_on(cluster)."""
    shops = []

    def make(where):
        directory = tmp_path / f"shop{len(shops)}"
        directory.mkdir()
        cluster = where if isinstance(where, PgCluster) else clusters[where]
        shops.append(Shop(cluster, directory, target_server(cluster.version)))
        return shops[-1]

    yield make
    for shop in shops:
        shop.close()


@pytest.fixture
def shop_into(cluster, clusters, tmp_path):
    """A factory of shops that follow into a kind of target, whatever --target says: shop_into("postgres")."""
    shops = []

    def make(kind):
        directory = tmp_path / f"into{len(shops)}"
        directory.mkdir()
        shops.append(Shop(cluster, directory, clusters.target(cluster.version) if kind == "postgres" else None))
        return shops[-1]

    yield make
    for shop in shops:
        shop.close()


@pytest.fixture
def pair_on(clusters, own_cluster, tmp_path):
    """A factory of shops that follow into PostgreSQL, whatever --target says: pair_on(source, target), each a version
    or a cluster."""
    pairs = []

    def make(source=DEFAULT_VERSION, target=None):
        directory = tmp_path / f"pair{len(pairs)}"
        directory.mkdir()
        source = source if isinstance(source, PgCluster) else clusters[source]
        target = target or source.version
        target = target if isinstance(target, PgCluster) else clusters.target(target)
        pairs.append(Shop(source, directory, target))
        return pairs[-1]

    yield make
    for pair in pairs:
        pair.close()


@pytest.fixture
def pair(pair_on):
    """A source database and a target database, each on its server."""
    return pair_on()


@pytest.fixture
def own_cluster():
    """A factory of servers with settings of their own: own_cluster(version, **settings)."""
    made = []

    def make(version=DEFAULT_VERSION, **settings):
        made.append(PgCluster(version, **settings).start())
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(params=VERSIONS, ids=lambda version: f"pg{version}")
def version(request):
    return request.param
