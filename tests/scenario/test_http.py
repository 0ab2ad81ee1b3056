"""What a run serves over HTTP to those who watch it. Invariants: the pages say what the status says; nothing that a
client does, sends or leaves out keeps the mirror from following or from ending; no page knows a secret."""
import json
import socket
import time

import pytest

from tailrace import run
from waiting import PATIENCE, wait_until
from watching import Watching

START = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i"


@pytest.fixture
def watched(shop):
    """A shop whose mirror is watched, and follows."""
    shop.watching = Watching(shop.mirror)
    shop.execute(START)
    shop.mirror.configure(http=shop.watching.port)
    shop.mirror.start()
    shop.watching.wait_for("/readyz", 200)
    shop.mirror.wait_caught_up(shop.cluster)
    yield shop


def test_pages_say_what_the_status_says(watched):
    pages = watched.watching
    watched.execute("INSERT INTO t SELECT i, 'new' FROM generate_series(101, 130) i")
    watched.execute("UPDATE t SET v = 'changed' WHERE id <= 7")
    watched.mirror.wait_caught_up(watched.cluster)
    pages.wait_value(lambda value: value == 30, "tailrace_changes_total", op="insert")
    pages.wait_value(lambda value: value == 7, "tailrace_changes_total", op="update")
    pages.wait_value(lambda value: value == 1, "tailrace_in_step")
    pages.wait_value(lambda value: value >= 1, "tailrace_end_to_end_latency_seconds_count")
    pages.wait_value(lambda value: value > 30, "tailrace_bytes_received_total")
    status = json.loads(pages.page("/status"))
    assert status["name"] == watched.mirror.name and status["state"] == "streaming"
    assert {table["name"] for table in status["tables"]} == {"t"}
    metrics = pages.metrics()
    assert metrics["tailrace_state", frozenset({("state", "streaming")})] == 1
    assert metrics["tailrace_state", frozenset({("state", "copying")})] == 0
    assert metrics["tailrace_commit_duration_seconds_count", frozenset()] >= 1
    assert metrics["tailrace_end_to_end_latency_seconds_sum", frozenset()] < 60 * PATIENCE
    assert metrics["tailrace_copy_bytes_total", frozenset()] > 0
    assert metrics["tailrace_copy_tables", frozenset({("state", "streaming")})] == 1
    assert abs(metrics["tailrace_heartbeat_timestamp_seconds", frozenset()] - time.time()) < 20 * PATIENCE
    assert metrics["process_resident_memory_bytes", frozenset()] > 1 << 20
    assert metrics["tailrace_disk_free_bytes", frozenset({("dir", "spool")})] > 0
    assert pages.page("/healthz") == "alive\n"


def test_form_of_answers(watched):
    pages = watched.watching
    status, headers, body = pages.ask("/metrics")
    assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["Cache-Control"] == "no-store" and body.endswith("\n")
    assert pages.ask("/status")[1]["Content-Type"] == "application/json"
    status, headers, body = pages.ask("/healthz", "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "6", "")
    assert pages.ask("/healthz?probe=1")[0] == 200
    assert pages.ask("/nowhere")[0] == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        status, headers, _ = pages.ask("/metrics", method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
    # Of one answer it would make many.
    assert pages.ask("/status", headers={"Range": "bytes=" + ",".join(["0-"] * 2500)})[0] == 200


def test_a_page_from_elsewhere_gets_no_answer(watched):
    """DNS rebinding: a name of somebody else's that means this machine."""
    pages = watched.watching
    for host in ("localhost", "127.0.0.1:80", f"[::1]:{pages.port}"):
        assert pages.ask("/status", headers={"Host": host})[0] == 200
    for host in ("evil.example", f"evil.example:{pages.port}", "localhost.evil.example"):
        status, _, body = pages.ask("/status", headers={"Host": host})
        assert status == 421 and "ask for localhost" in body
    two = raw(pages.port, b"GET /status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
    assert b" 421 " in two.split(b"\r\n")[0]


def test_an_address_that_others_reach_is_served_by_any_name(shop):
    shop.execute(START)
    pages = Watching(shop.mirror, "0.0.0.0")
    shop.mirror.start("--http", pages.address)
    pages.wait_for("/readyz", 200)
    assert pages.ask("/healthz", headers={"Host": "mirror.example"})[0] == 200


def test_a_source_that_stops_is_seen(own_cluster, shop_on):
    cluster = own_cluster()
    shop = shop_on(cluster)
    shop.execute(START)
    pages = Watching(shop.mirror)
    shop.mirror.configure(http=pages.port)
    shop.mirror.start()
    shop.mirror.wait_caught_up(cluster)
    pages.wait_value(lambda value: value == 1, "tailrace_in_step")
    cluster.stop("immediate")
    assert "reconnecting: " in pages.wait_for("/readyz", 503)
    assert pages.value("tailrace_in_step") == 0
    assert pages.value("tailrace_state", state="reconnecting") == 1
    # Restarting would not help, so this is no reason for it.
    assert pages.page("/healthz") == "alive\n"
    pages.wait_value(lambda value: value >= 2, "tailrace_errors_total", retry="transient")
    cluster.start()
    pages.wait_for("/readyz", 200)
    pages.wait_value(lambda value: value == 1, "tailrace_in_step")


def test_no_page_knows_a_secret(shop):
    shop.execute(START)
    pages = Watching(shop.mirror)
    shop.mirror.source = shop.cluster.url(shop.name, password="topsecret")
    shop.mirror.configure(http=pages.port)
    shop.mirror.start()
    pages.wait_for("/readyz", 200)
    shop.mirror.wait_caught_up(shop.cluster)
    for path in ("/", "/metrics", "/healthz", "/readyz", "/status"):
        _, headers, body = pages.ask(path)
        assert "topsecret" not in body + str(headers)


def raw(port, request, timeout=10):
    """All that comes for these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        client.sendall(request)
        out = b""
        try:
            while got := client.recv(65536):
                out += got
        except ConnectionError:
            pass
        return out


def test_hostile_clients_keep_nobody_waiting(watched):
    """Half a request from each of more clients than are served, one that sends a byte now and then, one that takes no
    answer, headers without end."""
    port = watched.watching.port
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
    for client in silent[:20]:
        client.sendall(b"GET /metrics HTTP/1.1\r\nX-Never: ")
    assert watched.watching.ask("/healthz")[0] == 200, "a probe is answered, for 503 would restart the mirror"
    watched.execute("UPDATE t SET v = 'meanwhile'")
    watched.mirror.wait_caught_up(watched.cluster)
    # Each is cut when its time is over, whatever it still sends.
    wait_until(lambda: is_cut(silent[39]), timeout=8, poll=0.2, what="a slow request to be cut")
    wait_until(lambda: watched.watching.ask("/healthz")[0] == 200, what="room for one who asks properly")
    for client in silent:
        client.close()
    endless = b"GET /status HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: " + b"a" * 200000
    assert raw_or_cut(port, endless)[:13] in (b"", b"HTTP/1.1 431 ")
    assert raw_or_cut(port, b"G" * 200000)[:13] in (b"", b"HTTP/1.1 431 ")
    assert b" 405 " in raw_or_cut(port, b"POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\n\r\n")
    assert watched.watching.ask("/healthz")[0] == 200


def is_cut(client):
    try:
        client.sendall(b"x")
    except OSError:
        return True
    return False


def raw_or_cut(port, request):
    try:
        return raw(port, request)
    except OSError:
        return b""


def test_the_end_waits_for_no_client(watched):
    port = watched.watching.port
    waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(10)]
    for client in waiting:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
    begun = time.monotonic()
    watched.mirror.stop(timeout=3)
    assert time.monotonic() - begun < 3 * PATIENCE
    for client in waiting:
        client.close()
    assert watched.watching.ask("/healthz") is None


def test_an_address_that_cannot_be_had(shop):
    shop.execute(START)
    outcome = run("run", shop.url, shop.mirror.target, "--http", "nowhere")
    assert outcome.returncode == 2 and "--http: must be a port, or an address and a port" in outcome.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = run("run", shop.url, shop.mirror.target, "--name", shop.name, "--http", port)
    assert outcome.returncode == 3
    assert f"cannot listen for HTTP at 127.0.0.1:{port}: Address already in use" in outcome.stderr
    assert "Give another address to --http" in outcome.stderr
    # Nothing was begun.
    assert shop.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == 0
