"""The alert rules and the dashboard that are shipped. Invariants: they are what Prometheus understands; every metric
that they name is one that a mirror serves; every alert is explained; a fault is told, and no longer than it lasts."""
import json
import re

import pytest

from prometheus import MONITORING, REPOSITORY, RULES, Prometheus, promtool
from watching import Watching

NAME = re.compile(r"\b(?:tailrace|process)_[a-z_]+\b")
START = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i"


@pytest.fixture
def watched_pair(pair):
    """Into PostgreSQL, and compared: there, all that a mirror serves is served."""
    pair.execute(START)
    pair.watching = Watching(pair.mirror)
    pair.mirror.configure(http=pair.watching.port, slot={"name": pair.name, "wal_room": "10GB"})
    pair.mirror.start()
    pair.mirror.wait_caught_up(pair.cluster)
    pair.execute("UPDATE t SET v = 'changed' WHERE id = 1")
    pair.mirror.wait_caught_up(pair.cluster)
    pair.verified()
    pair.watching.wait_value(lambda value: value > 0, "tailrace_slot_safe_bytes")
    yield pair


def test_rules_are_rules_and_pass_their_tests():
    for arguments in (("check", "rules", RULES), ("test", "rules", MONITORING / "alerts_test.yml")):
        outcome = promtool(*arguments)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_every_alert_says_what_to_do():
    rules = RULES.read_text()
    alerts = re.findall(r"- alert: (\w+)", rules)
    assert len(alerts) == rules.count("description:") == rules.count("severity: ") >= 10
    handbook = (REPOSITORY / "docs/monitoring.md").read_text()
    for alert in alerts:
        assert f"`{alert}`" in handbook, f"docs/monitoring.md does not say what to do about {alert}"
        assert alert in (MONITORING / "alerts_test.yml").read_text(), f"{alert} is not tested"
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
               for title in re.findall(r"^#+ (.*)$", handbook, re.M)}
    for anchor in re.findall(r"runbook: docs/monitoring.md#(\S+)", rules):
        assert anchor in anchors


def test_every_metric_that_is_named_is_served(watched_pair):
    text = watched_pair.watching.page("/metrics")
    outcome = promtool("check", "metrics", stdin=text)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    served = {re.sub(r"_(bucket|sum|count)$", "", name) if "_seconds_" in name else name
              for name, _ in watched_pair.watching.metrics()}
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    drawn = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    for text in (RULES.read_text(), drawn, dashboard["templating"]["list"][1]["query"]["query"]):
        named = {re.sub(r"_bucket$", "", name) for name in NAME.findall(text)}
        assert named and named <= served, named - served
    handbook = (REPOSITORY / "docs/monitoring.md").read_text()
    documented = {re.sub(r"_bucket$", "", name) for name in NAME.findall(handbook)}
    assert documented == served, documented ^ served


def test_the_dashboard_belongs_to_no_installation():
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    sources = re.findall(r'"uid": "([^"]*)"', json.dumps(dashboard["panels"]))
    assert set(sources) == {"${datasource}"}
    assert dashboard["templating"]["list"][0]["type"] == "datasource"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_alerts_fire_and_clear(own_cluster, pair_on, tmp_path):
    source, target = own_cluster(), own_cluster()
    pair = pair_on(source, target)
    pair.execute(START)
    pages = Watching(pair.mirror)
    pair.mirror.configure(http=pages.port, slot={"name": pair.name, "wal_room": "30MB"})
    pair.mirror.start()
    pair.mirror.wait_caught_up(source)
    pages.wait_value(lambda value: value == 1, "tailrace_slot_active")
    with Prometheus(tmp_path / "prometheus", pages.address) as prometheus:
        prometheus.wait_scraped()
        prometheus.wait_quiet()
        source.stop("immediate")
        prometheus.wait_firing("TailraceReconnecting")
        source.start()
        prometheus.wait_quiet()
        target.stop("immediate")
        pair.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 900000)) FROM generate_series(1, 20)")
        for alert in ("TailraceReconnecting", "TailraceSlotInactive", "TailraceSlotHalfFull"):
            prometheus.wait_firing(alert)
        target.start()
        prometheus.wait_quiet()
    assert pair.settle() == 100
