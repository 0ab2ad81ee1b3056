"""Workload: many writers at once, doing all that can be done to rows, with an invariant that holds after each commit:
the sum of all balances never changes."""
import random
import threading

import psycopg

ACCOUNTS = 2000
SETUP = f"""
CREATE TABLE accounts (id int PRIMARY KEY, balance numeric(12,2) NOT NULL, note text);
CREATE TABLE transfers (id bigserial PRIMARY KEY, giver int, taker int, amount numeric(12,2), at timestamptz);
CREATE TABLE documents (code text PRIMARY KEY, version int, body text, tags text[]);
CREATE TABLE events (kind text, payload jsonb);
ALTER TABLE events REPLICA IDENTITY FULL;
ALTER TABLE documents ALTER body SET STORAGE EXTERNAL;
INSERT INTO accounts SELECT i, 1000, 'account ' || i FROM generate_series(1, {ACCOUNTS}) i;
INSERT INTO documents SELECT 'd' || i, 0, repeat(md5(i::text), 200), ARRAY['new'] FROM generate_series(1, 200) i;
INSERT INTO events SELECT 'e' || i % 5, jsonb_build_object('n', i % 20) FROM generate_series(1, 500) i
"""
SUM = ACCOUNTS * 1000


class Workload:
    """Runs until stopped. `count` is the number of transactions that committed; `failure` what went wrong."""

    def __init__(self, connect, writers=3, seed=1):
        self._connect = connect
        self._stop = threading.Event()
        self.count = 0
        self.failure = None
        self._threads = [threading.Thread(target=self._write, args=(random.Random(f"{seed}/{number}"), number))
                         for number in range(writers)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.failure:
            raise self.failure

    def _write(self, chance, number):
        actions = [self._transfer] * 6 + [self._document] * 3 + [self._event] * 2
        actions += [self._move, self._bulk, self._abort]
        connection = None
        while not self._stop.is_set():
            try:
                connection = connection or self._connect()
                with connection.transaction():
                    chance.choice(actions)(connection, chance, number)
                self.count += 1
            except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation, _Abort):
                continue
            except psycopg.OperationalError:
                # The server is being restarted; whoever does that waits for it to come back.
                connection = None
                self._stop.wait(0.1)
            except Exception as error:
                self.failure = error
                return

    @staticmethod
    def _transfer(connection, chance, _):
        giver, taker = chance.randint(1, ACCOUNTS), chance.randint(1, ACCOUNTS)
        amount = chance.randint(1, 10000) / 100
        for account, change in sorted(((giver, -amount), (taker, amount))):
            connection.execute("UPDATE accounts SET balance = balance + %s WHERE id = %s", (change, account))
        connection.execute("INSERT INTO transfers (giver, taker, amount, at) VALUES (%s, %s, %s, now())",
                           (giver, taker, amount))

    @staticmethod
    def _document(connection, chance, _):
        """Bodies are TOASTed; most updates leave them alone, some move the key."""
        code = f"d{chance.randint(1, 200)}"
        which = chance.random()
        if which < 0.5:
            connection.execute("UPDATE documents SET version = version + 1 WHERE code = %s", (code,))
        elif which < 0.7:
            connection.execute("UPDATE documents SET body = repeat(md5(random()::text), 200) WHERE code = %s", (code,))
        elif which < 0.85:
            connection.execute("UPDATE documents SET code = code || 'x', version = 0 WHERE code = %s", (code,))
        else:
            connection.execute("DELETE FROM documents WHERE code = %s OR code LIKE %s", (code, code + "xxx%"))
            connection.execute("INSERT INTO documents VALUES (%s, 0, repeat(md5(random()::text), 200), '{again}')"
                               " ON CONFLICT DO NOTHING", (code,))

    @staticmethod
    def _event(connection, chance, _):
        """A table without a key and full of duplicates."""
        which = chance.random()
        if which < 0.5:
            connection.execute("INSERT INTO events VALUES (%s, jsonb_build_object('n', %s::int))",
                               (f"e{chance.randint(0, 4)}", chance.randint(0, 20)))
        else:
            verb = "DELETE FROM events" if which < 0.8 else "UPDATE events SET kind = kind || '+'"
            connection.execute(f"{verb} WHERE ctid = (SELECT ctid FROM events WHERE kind = %s LIMIT 1)",
                               (f"e{chance.randint(0, 4)}",))

    @staticmethod
    def _move(connection, chance, number):
        """An account changes its key and comes back, within the transaction."""
        account, away = chance.randint(1, ACCOUNTS), ACCOUNTS + 1 + number
        connection.execute("UPDATE accounts SET id = %s WHERE id = %s", (away, account))
        connection.execute("UPDATE accounts SET note = %s WHERE id = %s", (f"moved by {number}", away))
        connection.execute("UPDATE accounts SET id = %s WHERE id = %s", (account, away))

    @staticmethod
    def _bulk(connection, chance, _):
        connection.execute("INSERT INTO transfers (giver, taker, amount, at) SELECT i, i, 0, now()"
                           " FROM generate_series(1, %s) i", (chance.randint(100, 2000),))
        connection.execute("DELETE FROM transfers WHERE amount = 0 AND id %% 3 = %s", (chance.randint(0, 2),))

    @staticmethod
    def _abort(connection, chance, _):
        connection.execute("UPDATE accounts SET balance = 0 WHERE id = %s", (chance.randint(1, ACCOUNTS),))
        raise _Abort


class _Abort(Exception):
    """Rolls a transaction back on purpose."""


def balanced(into):
    """True if the accounts that are visible in the target are a state that some commit left at the source."""
    with into.opened() as mirror:
        if ("public", "accounts") not in mirror.tables():
            return True
        total = mirror.value("(SELECT sum(balance) FROM public.accounts)")
        return total is None or float(total) == SUM
