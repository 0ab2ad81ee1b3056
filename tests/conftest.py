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
    if "--sanitized" in sys.argv:
        os.environ.setdefault("TAILRACE_BIN", str(TESTS.parent / "build/sanitize/src/cli/tailrace"))
        os.environ.setdefault("TAILRACE_PATIENCE", "4")
        os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99")
        os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")


from cluster import VERSIONS, PgCluster  # noqa: E402
from compare import compare  # noqa: E402
from tailrace import Tailrace  # noqa: E402

DEFAULT_VERSION = 15
serial = itertools.count(1)


class Clusters:
    """One running server per version, started when first asked for."""

    def __init__(self):
        self._running = {}

    def __getitem__(self, version):
        if version not in self._running:
            self._running[version] = PgCluster(version).start()
        return self._running[version]

    def close(self):
        for cluster in self._running.values():
            cluster.close()


class Shop:
    """A database of its own on a server, and the mirror that is to follow it."""

    def __init__(self, cluster, directory):
        self.cluster = cluster
        self.directory = directory
        self.name = f"t{next(serial)}"
        self.cluster.create_database(self.name)
        self.mirrors = []
        self.mirror = self.another()

    @property
    def url(self):
        return self.cluster.url(self.name)

    def another(self, name=None, source=None, **settings):
        """One more mirror, by default with its own slot, publication and file."""
        name = name or (self.name if not self.mirrors else f"{self.name}_{len(self.mirrors)}")
        directory = self.directory / f"mirror{len(self.mirrors)}"
        directory.mkdir()
        self.mirrors.append(Tailrace(source or self.url, directory, name, **settings))
        return self.mirrors[-1]

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
        return compare(self.cluster, self.name, mirror.file, **how)

    def verified(self, mirror=None):
        """The program's own proof, while it runs."""
        outcome = (mirror or self.mirror).verify()
        assert outcome.returncode == 0, f"verify: {outcome.stdout}\n{outcome.stderr}"
        return outcome.stdout

    def close(self):
        for mirror in self.mirrors:
            mirror.close()
        self.cluster.drop_database(self.name)


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
def shop(cluster, tmp_path):
    shop = Shop(cluster, tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def shop_on(clusters, tmp_path):
    """A factory: shop_on(version) or shop_on(cluster)."""
    shops = []

    def make(where):
        directory = tmp_path / f"shop{len(shops)}"
        directory.mkdir()
        shops.append(Shop(where if isinstance(where, PgCluster) else clusters[where], directory))
        return shops[-1]

    yield make
    for shop in shops:
        shop.close()


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
