"""The source's tables trade names, partitions and schemas while `tailrace verify` looks at them. Invariant: what is
compared, or mended, is the table that the snapshot shows, whatever has its name meanwhile."""
import json
import threading
from contextlib import contextmanager

import pytest

from proxy import Proxy
from tailrace import run
from test_swapped_names import KINDS, SOURCE, SWAPS, WHOLE_TREES, follows
from waiting import wait_until

# Of the first table that is compared: the catalogs have been looked at, and the others have not been read.
COMPARING = b'from only "a"."t"'
LOOKING_UP = b"savepoint looking_up"
MENDING = b'("id") in ('
PLANTS = "DELETE FROM {0} WHERE id = 3; UPDATE {0} SET v = 'planted' WHERE id IN (4, 5); INSERT INTO {0} VALUES {1}"


def planted(shop, table, surplus):
    """Rows that differ: one is missing, two are others, and one too many."""
    with shop.mirror.into.opened(writable=True) as database:
        for statement in PLANTS.format(table, surplus).split("; "):
            database.query(statement)


@contextmanager
def verifying(shop, proxy, words, *options):
    """Stopped when it says these words to the server behind the proxy, which hears them after the block. Gives what
    will be the outcome."""
    outcomes = []
    thread = threading.Thread(
        target=lambda: outcomes.append(run("verify", "-c", shop.mirror.config, "--json", *options, timeout=120)))
    proxy.stall_at(words)
    thread.start()
    try:
        wait_until(lambda: not proxy.flowing or not thread.is_alive(), what=f"{words}")
        assert not proxy.flowing, outcomes
        yield outcomes
    finally:
        proxy.restore()
        thread.join()


@contextmanager
def mirrored(shop, plant=()):
    """It follows its source through the proxy that is given."""
    shop.execute(SOURCE)
    with Proxy(shop.cluster.port) as proxy:
        shop.mirror.source = shop.cluster.url(shop.name, port=proxy.port)
        # To judge what a query would run, a superuser asks for the partitions, and so locks them.
        shop.mirror.configure(schema={"trust_source": True})
        shop.mirror.start()
        shop.mirror.wait_caught_up(shop.cluster)
        if plant:
            shop.mirror.stop()
            planted(shop, *plant)
            shop.mirror.start()
            shop.mirror.wait_caught_up(shop.cluster)
        yield proxy


def reported(outcomes):
    report = json.loads(outcomes[0].stdout)
    assert report["error"] is None, report
    return report


def met_again(shop):
    return shop.mirror.log_text().count("the two sides meet again")


@KINDS
@pytest.mark.parametrize("swap", ["with_another", "with_a_new_one", "of_schemas"])
def test_names_that_are_traded_while_tables_are_compared(shop_into, kind, swap):
    """No row is said to differ: only names, for the mirror has not followed yet."""
    shop = shop_into(kind)
    with mirrored(shop) as proxy:
        with verifying(shop, proxy, COMPARING) as outcomes:
            shop.execute(f"BEGIN; {SWAPS[swap]}; COMMIT")
        differences = [difference for table in reported(outcomes)["tables"] for difference in table["differences"]]
        assert {difference["key"] for difference in differences} <= {"its name", "the table"}, differences
        assert met_again(shop) == 1
        follows(shop)


@KINDS
@pytest.mark.parametrize("change", ["detached", "attached", "moved", "of_columns"])
def test_tables_altered_while_they_are_compared(shop_into, kind, change):
    """Until the mirror has followed, its rows differ indeed."""
    shop = shop_into(kind)
    with mirrored(shop) as proxy:
        with verifying(shop, proxy, COMPARING) as outcomes:
            shop.execute(f"BEGIN; {(WHOLE_TREES | SWAPS)[change]}; COMMIT")
        reported(outcomes)
        assert met_again(shop) == 1
        shop.mirror.wait_caught_up(shop.cluster)
        shop.mirror.look(shop.cluster)
        shop.verified()
        follows(shop)


@KINDS
@pytest.mark.parametrize("swap, words, plant", [
    ("with_another", LOOKING_UP, ("public.t", "(1000, 'ghost', 'w')")),
    ("of_schemas", MENDING, ("a.t", "(1000, 'ghost')"))], ids=["with_another", "of_schemas"])
def test_names_that_are_traded_while_a_table_is_mended(shop_into, kind, swap, words, plant):
    """Each row is mended once: to what the table has, never to what has its name has, which would be mended anew."""
    shop = shop_into(kind)
    with mirrored(shop, plant) as proxy:
        with verifying(shop, proxy, words, "--repair") as outcomes:
            shop.execute(f"BEGIN; {SWAPS[swap]}; COMMIT")
        tables = [table for table in reported(outcomes)["tables"] if table["inserted"] + table["deleted"]]
        assert [[table[key] for key in ("inserted", "updated", "deleted")] for table in tables] == [[1, 2, 1]]
        assert met_again(shop) >= 1
        follows(shop)


@KINDS
def test_a_table_that_is_altered_between_the_snapshot_and_the_look(shop_into, kind):
    """It is stopped when it is about to ask, under the snapshot, what is published."""
    shop = shop_into(kind)
    with mirrored(shop) as proxy:
        with verifying(shop, proxy, b"hashtextextended") as outcomes:
            shop.execute(f"BEGIN; {SWAPS['with_another']}; COMMIT")
        differences = [difference for table in reported(outcomes)["tables"] for difference in table["differences"]]
        assert {difference["key"] for difference in differences} <= {"its name", "the table"}, differences
        assert met_again(shop) == 1
        follows(shop)


def test_names_that_are_traded_at_the_target(shop_into):
    """Which is not asked what another table holds."""
    shop = shop_into("postgres")
    shop.execute(SOURCE)
    into = shop.mirror.into
    with Proxy(into.cluster.port) as proxy:
        into.url = into.cluster.url(into.database, port=proxy.port)
        shop.mirror.configure()
        shop.mirror.start()
        shop.mirror.wait_caught_up(shop.cluster)
        with verifying(shop, proxy, COMPARING) as outcomes:
            into.execute(f"BEGIN; {SWAPS['with_another']}; COMMIT")
        report = json.loads(outcomes[0].stdout)
        assert "has no table \"public\".\"t\" of tailrace's any more" in report["error"]
        assert not any(table["differences"] for table in report["tables"])
        assert met_again(shop) == 1
