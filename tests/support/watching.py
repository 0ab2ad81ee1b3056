"""Watching: what a mirror serves over HTTP, as Prometheus, an orchestrator or curl would ask for it."""
import http.client
import re

from cluster import free_port
from waiting import wait_until

LINE = re.compile(r'([a-z_]+)(?:\{(.*)\})? (\S+)')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')


class Watching:
    """The HTTP server of one mirror."""

    def __init__(self, mirror, host="127.0.0.1"):
        self.mirror = mirror
        self.host = host
        self.port = free_port()

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def ask(self, path, method="GET", headers=None, timeout=10):
        """(status, headers, body); None where nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        except ConnectionRefusedError:
            return None
        finally:
            connection.close()

    def page(self, path):
        answer = self.ask(path)
        assert answer and answer[0] == 200, f"{path}: {answer}"
        return answer[2]

    def wait_for(self, path, status, timeout=60):
        """The body, once the page answers with that status."""
        last = None

        def asked():
            nonlocal last
            last = self.ask(path)
            return last and last[0] == status

        wait_until(asked, timeout, lambda: f"{path} to answer {status}, not {last}\n{self.mirror.tail()}")
        return last[2]

    def metrics(self):
        """{(name, frozenset of labels without the subscription): value}"""
        out = {}
        for line in self.page("/metrics").splitlines():
            if line.startswith("#"):
                continue
            name, labels, value = LINE.fullmatch(line).groups()
            found = dict(LABEL.findall(labels or ""))
            assert found.pop("subscription") == self.mirror.name, line
            key = (name, frozenset(found.items()))
            assert key not in out, f"twice: {line}"
            out[key] = float(value)
        return out

    def value(self, name, **labels):
        """One metric's value, or None."""
        return self.metrics().get((name, frozenset(labels.items())))

    def wait_value(self, predicate, name, timeout=60, **labels):
        wait_until(lambda: self.running_value(predicate, name, labels), timeout,
                   lambda: f"{name}{labels}, which is {self.value(name, **labels)}\n{self.mirror.tail()}")

    def running_value(self, predicate, name, labels):
        value = self.value(name, **labels)
        return value is not None and predicate(value)
