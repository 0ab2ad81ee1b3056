"""Two databases that follow each other while both write the same few rows."""
import os
import random
import threading
import time

import psycopg

from targets import PostgresTarget
from waiting import wait_until

SEED = os.environ.get("TAILRACE_SEED") or str(random.randrange(1_000_000))
KEYS = 12
TABLES = """
CREATE TABLE one (id int PRIMARY KEY, v text, n int);
CREATE TABLE two (a int, b text, v text, body text, PRIMARY KEY (a, b)); ALTER TABLE two REPLICA IDENTITY FULL;
INSERT INTO one SELECT i, 'first', 0 FROM generate_series(1, 6) i;
INSERT INTO two SELECT i, 'k', 'first', repeat(md5(i::text), 200) FROM generate_series(1, 6) i"""


class Writer(threading.Thread):
    """One session that inserts, updates, moves and deletes rows at random; what fails, fails."""

    def __init__(self, url, name, end):
        super().__init__(daemon=True)
        self.url = url
        self.name = name
        self.end = end
        self.chance = random.Random(f"{SEED}/{name}")
        self.transactions = 0

    def run(self):
        with psycopg.connect(self.url, autocommit=True) as connection:
            while time.monotonic() < self.end:
                statements = "; ".join(self.statement() for _ in range(self.chance.choice((*[1] * 20, *[3] * 10, 60))))
                try:
                    connection.execute(f"BEGIN; {statements}; COMMIT")
                    self.transactions += 1
                except psycopg.Error:
                    connection.execute("ROLLBACK")
                time.sleep(self.chance.random() * 0.2)

    def statement(self):
        key, other, value = self.chance.randint(1, KEYS), self.chance.randint(1, KEYS), self.chance.random()
        body = f"(SELECT string_agg(md5((i * {value})::text), '') FROM generate_series(1, 100) i)"
        return self.chance.choice((
            f"INSERT INTO one VALUES ({key}, '{self.name} {value}', 1) ON CONFLICT DO NOTHING",
            f"INSERT INTO one VALUES ({key}, '{self.name} {value}', 1) ON CONFLICT (id) DO UPDATE SET v = excluded.v",
            f"UPDATE one SET v = '{self.name} {value}', n = n + 1 WHERE id = {key}",
            f"UPDATE one SET n = n + 1 WHERE id < {key}",
            f"DELETE FROM one WHERE id = {key}",
            f"DELETE FROM one WHERE id = {key}; INSERT INTO one VALUES ({key}, '{self.name} again {value}', 2)",
            f"UPDATE one SET id = {other} WHERE id = {key}"
            f" AND NOT EXISTS (SELECT FROM one WHERE id = {other})",
            f"INSERT INTO two VALUES ({key}, 'k', '{self.name} {value}', {body}) ON CONFLICT DO NOTHING",
            f"UPDATE two SET v = '{self.name} {value}' WHERE a = {key}",
            f"UPDATE two SET body = {body} WHERE a = {key}",
            f"DELETE FROM two WHERE a = {key}",
        ))


class Nodes:
    """Two servers that remember when rows were written, each following the other."""

    def __init__(self, pair_on, own_cluster, version=15):
        one, two = (own_cluster(version, track_commit_timestamp="on") for _ in range(2))
        self.pair = pair_on(one, two)
        self.pair.execute(TABLES)
        settings = {"origin": "none", "conflicts": {"policy": "last_update_wins", "log": "debug"}}
        self.there = self.pair.mirror
        self.there.configure(**settings)
        self.back = self.pair.another(source=self.there.target,
                                      into=PostgresTarget(one, self.pair.name, existing=True),
                                      snapshot={"enabled": False}, **settings)

    def start(self):
        self.there.start()
        self.there.wait_caught_up(self.pair.cluster)
        self.back.start()
        self.back.wait_streaming()

    def write(self, seconds, writers=2):
        end = time.monotonic() + seconds
        threads = [Writer(url, f"{side}{number}", end) for number in range(writers)
                   for side, url in (("one", self.pair.url), ("two", self.there.target))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.transactions = sum(thread.transactions for thread in threads)

    def rows(self):
        return [[side(f"SELECT t::text FROM {table} t ORDER BY 1") for table in ("one", "two")]
                for side in (self.pair.execute, self.there.into.execute)]

    def wait_identical(self, timeout=60):
        """Both in step, and every row the same, one by one."""
        self.there.wait_caught_up(self.pair.cluster, timeout)
        self.back.wait_caught_up(self.pair.target_server, timeout)
        self.there.wait_caught_up(self.pair.cluster, timeout)

        def same():
            here, there = self.rows()
            return here == there

        wait_until(same, 5, what=lambda: f"identical rows (seed {SEED}): {self.difference()}")
        return sum(len(rows) for rows in self.rows()[0])

    def difference(self):
        here, there = ({str(row[0]) for table in side for row in table} for side in self.rows())
        return f"only here {sorted(row[:60] for row in here - there)}, only there" \
               f" {sorted(row[:60] for row in there - here)}"

    def conflicts(self):
        return sum(sum(mirror.status()["conflicts"].values()) for mirror in (self.there, self.back))
