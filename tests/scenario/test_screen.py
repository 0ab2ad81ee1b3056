"""What a person sees: the live display of `run` and `status --watch` on terminals of all sizes, among log lines,
without colours where they are not wanted; and in a pipe nothing that only a terminal obeys."""
import re
import signal
import subprocess
import time

import pytest

from proxy import Proxy
from screen import OnTerminal, Screen
from tailrace import BINARY, run
from waiting import wait_until

MANY = 120
SIZES = [(24, 80), (10, 60), (40, 250)]


def titles(screen, shop):
    return [line for line in screen.lines() if line.startswith(f"tailrace {shop.mirror.name}")]


def clean(screen, shop):
    """The display is there once, from its first line on, and nothing of it was pushed out of sight."""
    assert len(titles(screen, shop)) == 1, f"\n{screen}"
    assert not any("publication" in line and "slot" in line for line in screen.scrolled), screen.scrolled


def many_tables(shop):
    shop.execute("".join(f"CREATE TABLE t{i:03} (id int PRIMARY KEY);" for i in range(MANY)))


def test_the_screen_itself():
    """The tests' terminal does what terminals do."""
    screen = Screen(3, 10)
    screen.feed("one\ntwo\r\nthree\r\nfour\x1b[2A\r\x1b[JX\x1b[1mY")
    assert screen.all_lines() == ["one", "XY"] and screen.coloured
    screen.feed("\r\x1b[J表名" + "a" * 7)
    assert screen.lines() == ["表名aaaaaa", "a"] and screen.wrapped == 1
    with pytest.raises(AssertionError):
        screen.feed("\x1b[7;7H")


@pytest.mark.parametrize("rows,columns", SIZES)
def test_log_lines_between(own_cluster, shop_on, rows, columns):
    """The source goes away and comes back: what is logged stands above the display, whole."""
    shop = shop_on(own_cluster())
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)")
    with OnTerminal("run", "-c", shop.mirror.config, rows=rows, columns=columns) as terminal:
        terminal.wait_for("streaming")
        assert any("copied 1 table, 100 rows" in line for line in terminal.screen.all_lines()), terminal.screen
        clean(terminal.screen, shop)
        shop.cluster.stop()
        terminal.wait_for(lambda screen: screen.text_seen.count("trying again in") > 2)
        terminal.wait_for("reconnecting")
        clean(terminal.read(1), shop)
        shop.cluster.start()
        terminal.wait_for("streaming")
        terminal.wait_for(lambda screen: "trying again" not in "".join(titles(screen, shop)))
        clean(terminal.read(1), shop)
        assert terminal.end() == 0
        lines = terminal.screen.all_lines()
        # Of a log line that is wider than the terminal the end is on a later row.
        whole = "".join(line.ljust(columns) if len(line) > columns - 12 else line + "\n" for line in lines)
        logged = re.findall(r"warn  run: .*?trying again in [0-9.]+ s$", whole, re.MULTILINE | re.DOTALL)
        assert len(logged) > 2, whole
        assert any(line.startswith("tailrace: stopped at ") for line in lines[-3:]), lines


@pytest.mark.parametrize("rows,columns", SIZES + [(6, 80)])
def test_more_tables_than_rows(shop, rows, columns):
    """The head, the troubled tables first, and how many there are besides; at any height, and when that changes."""
    many_tables(shop)
    with OnTerminal("run", "-c", shop.mirror.config, rows=rows, columns=columns) as terminal:
        terminal.wait_for("streaming")
        screen = terminal.read(1)
        if rows < 10:
            assert [line.startswith("streaming: ") for line in screen.lines()[-1:]] == [True], f"\n{screen}"
            return
        clean(screen, shop)
        assert rows < 20 or any(" more tables" in line for line in screen.lines()), f"\n{screen}"
        with OnTerminal("status", "--watch", *shop.mirror.named(), rows=rows, columns=columns) as watch:
            watch.wait_for("streaming")
            clean(watch.read(2.5), shop)
            watch.resize(14, 70)
            clean(watch.read(2.5), shop)
            watch.resize(50, 120)
            watch.wait_for(lambda screen: len(screen.lines()) > 40)
            clean(watch.read(1), shop)
            assert watch.end() == 0


def test_watch_goes_on(shop):
    """While nothing answers, as in a restart, it says for how long, shows what was last, and goes on after."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY)")
    nothing = run("status", "--watch", *shop.mirror.named())
    assert nothing.returncode == 1 and "not running" in nothing.stdout
    with shop.mirror:
        shop.mirror.wait_caught_up(shop.cluster)
        with OnTerminal("status", "--watch", *shop.mirror.named()) as watch:
            watch.wait_for("streaming")
            shop.mirror.kill()
            watch.wait_for("nothing answers for")
            clean(watch.read(2), shop)
            shop.mirror.start()
            watch.wait_for(lambda screen: "streaming" in str(screen) and "nothing answers" not in str(screen))
            clean(watch.read(0.1), shop)
            assert watch.end(signal.SIGTERM) == 0


def test_colours(shop):
    """Where they are wanted, and nowhere else; a terminal that cannot move its cursor is written to line by line."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY)")
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        with OnTerminal("run", "-c", shop.mirror.config, env=env) as terminal:
            terminal.wait_for("streaming")
            for command in (("status", *shop.mirror.named()), ("status", "--watch", *shop.mirror.named())):
                with OnTerminal(*command, env=env) as other:
                    other.wait_for("streaming")
                    assert other.screen.coloured == coloured, command
            assert terminal.end() == 0
            assert terminal.screen.coloured == coloured
    with OnTerminal("run", "-c", shop.mirror.config, env={"TERM": "dumb"}) as terminal:
        terminal.wait_for("progress: streaming")
        assert terminal.end() == 0
        assert "\x1b" not in terminal.screen.text_seen


def test_nothing_but_text_in_a_pipe(shop, tmp_path):
    """Whatever the environment says of terminals."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")
    env = {"TERM": "xterm", "CLICOLOR_FORCE": "1", "NO_COLOR": ""}
    named, config = shop.mirror.named(), ("-c", shop.mirror.config)
    outcomes = [run(*command, env=env) for command in (
        ("check", *config), ("init", *config), ("status", *named), ("bogus",), ("--help",), ("run", "nowhere"))]
    shop.mirror.env = env
    with shop.mirror:
        shop.mirror.wait_caught_up(shop.cluster)
        outcomes += [run(*command, env=env) for command in (
            ("status", *named), ("verify", *config), ("refresh", *config), ("run", *config))]
        shown = tmp_path / "watch"
        header = f"tailrace {shop.mirror.name}  streaming"
        with open(shown, "w") as out, subprocess.Popen([BINARY, "status", "--watch", *named], stdout=out) as watch:
            wait_until(lambda: shown.read_text().count(header) >= 3, what="three looks")
            watch.send_signal(signal.SIGINT)
        text = shown.read_text()
        shop.mirror.stop()
    looks = text.split("\n\n")
    assert len(looks) >= 4, f"there is an empty line between two looks: {text}"
    for said in [outcome.stdout + outcome.stderr for outcome in outcomes] + [text, shop.mirror.log_text()]:
        assert "\x1b" not in said and "\r" not in said, said


def test_verify_on_a_terminal(shop):
    """--continuous shows where it is from the start, and what it finds stands above that."""
    shop.execute("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY);"
                 "INSERT INTO a SELECT generate_series(1, 5000)")
    with shop.mirror:
        shop.mirror.wait_caught_up(shop.cluster)
        with OnTerminal("verify", *shop.mirror.named(), "--continuous", "--rate", "2000") as terminal:
            pause = re.compile(r"round 1, table 1 of 2: public.a compared; the next in [0-9.]+ s")
            terminal.wait_for(lambda screen: pause.search(str(screen)), timeout=20)
            terminal.wait_for("round 1: 2 tables, 5,000 rows, 0 with differences")
            terminal.wait_for("round 2, table 1 of 2")
            assert terminal.end() == 0
            assert terminal.screen.lines()[-1].startswith("stopped after "), terminal.screen
            assert not any("the next in" in line for line in terminal.screen.all_lines()), terminal.screen


@pytest.mark.duckdb("two servers sum up their rows themselves")
def test_a_single_verify_on_a_terminal(shop):
    """Where it is, how fast, and how long it takes, behind a slow network; of that line nothing is left in the end."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                 "INSERT INTO t SELECT i, repeat('x', 300) FROM generate_series(1, 100000) i; ANALYZE t")
    line = re.compile(r"comparing public\.t, [0-9,]+ of about 100,000 rows, table 1 of 1, [0-9,]+ rows/s, .* left")

    def trickle(screen):
        """A piece of each connection at a time."""
        proxy.restore()
        proxy.stall()
        return line.search(str(screen))

    with Proxy(shop.cluster.port) as proxy:
        shop.mirror.source = shop.cluster.url(shop.name, port=proxy.port)
        shop.mirror.configure()
        shop.mirror.start()
        shop.mirror.wait_caught_up(shop.cluster)
        with OnTerminal("verify", *shop.mirror.named(), columns=120) as terminal:
            terminal.wait_for(trickle)
            proxy.restore()
            assert terminal.end(None) == 0
            lines = terminal.screen.all_lines()
            assert any("100,000" in line for line in lines) and not any("comparing" in line for line in lines), lines
        shop.mirror.stop()


def test_rate_and_time_left_of_a_copy(shop):
    """By `run` on its terminal, and by the status."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                 "INSERT INTO t SELECT i, repeat('x', 300) FROM generate_series(1, 600000) i; ANALYZE t")
    seen = {}

    def both(screen):
        """A slow network: now and then something comes."""
        proxy.restore()
        time.sleep(0.01)
        proxy.stall()
        time.sleep(0.2)
        status = shop.mirror.status()
        if status and status["seconds_left"] is not None:
            seen.update(status)
        return seen and re.search(r"copy .* % · .* left · [0-9,]+ rows/s", str(screen))

    with Proxy(shop.cluster.port) as proxy:
        shop.mirror.source = shop.cluster.url(shop.name, port=proxy.port)
        shop.mirror.configure(snapshot={"readers": 1})
        proxy.stall_at(b"copy ")
        with OnTerminal("run", "-c", shop.mirror.config, columns=80) as terminal:
            wait_until(lambda: not proxy.flowing, what="the copy's first row to be asked for")
            terminal.wait_for(both)
            proxy.restore()
            wait_until(lambda: "copied 1 table, 600,000 rows" in terminal.read(0.1).text_seen, what="the copy's end")
            assert terminal.end() == 0
    assert seen["state"] == "copying" and seen["per_second"] > 1000 and seen["seconds_left"] < 600, seen
    assert seen["resident_bytes"] > 10_000_000 and seen["applied"] is None, "memory is known, a position not yet"
