"""Prometheus, as somebody runs it who watches a mirror with the alert rules that are shipped."""
import json
import re
import subprocess
import urllib.request
from pathlib import Path

from cluster import REPOSITORY, free_port
from waiting import wait_until

PROGRAMS = REPOSITORY / ".deps/prometheus/bin"
MONITORING = REPOSITORY / "monitoring"
RULES = MONITORING / "alerts.yml"


def promtool(*arguments, stdin=None):
    return subprocess.run([PROGRAMS / "promtool", *map(str, arguments)], input=stdin, capture_output=True, text=True,
                          check=False)


class Prometheus:
    """Scrapes one address each second. What an alert waits for is shortened to a second: that its `for` is kept is
    Prometheus's business."""

    def __init__(self, directory, address):
        self.port = free_port()
        self.directory = Path(directory)
        self.directory.mkdir()
        rules = self.directory / "alerts.yml"
        rules.write_text(re.sub(r"^( +for:) .*$", r"\1 1s", RULES.read_text(), flags=re.M))
        (self.directory / "prometheus.yml").write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "tailrace", "static_configs": [{"targets": [address]}]}]}))
        self.process = None

    def __enter__(self):
        with open(self.directory / "log", "wb") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "prometheus", f"--config.file={self.directory}/prometheus.yml",
                 f"--storage.tsdb.path={self.directory}/data", f"--web.listen-address=127.0.0.1:{self.port}"],
                stdout=log, stderr=log, cwd=self.directory)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def _get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}", timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def firing(self):
        """Names of the alerts that fire; None before it answers."""
        found = self._get("alerts")
        return found and {alert["labels"]["alertname"] for alert in found["alerts"] if alert["state"] == "firing"}

    def wait_scraped(self):
        wait_until(lambda: any(target["health"] == "up" for target in
                               (self._get("targets") or {"activeTargets": []})["activeTargets"]),
                   what=lambda: (self.directory / "log").read_text()[-2000:])

    def wait_firing(self, name):
        wait_until(lambda: name in (self.firing() or set()), what=lambda: f"{name}, not {self.firing()}")

    def wait_quiet(self):
        wait_until(lambda: self._get("alerts") == {"alerts": []},
                   what=lambda: f"no alert, not {self._get('alerts')}")
