"""A mirror gets another name, by the steps of docs/repairs.md as they stand there. Invariant: it goes on from where it
was, and copies nothing; a step that was left out is refused, and nothing is written."""
import json
import re

import pytest

from tailrace import REPOSITORY, run

BOTH = ("duckdb", "postgres")
SETUP = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT i, 'v' FROM generate_series(1, 100) i"


def statements(old, new):
    """The SQL of the page, with these names in place of its own."""
    page = (REPOSITORY / "docs/repairs.md").read_text(encoding="utf-8")
    page = page[page.index("## Another name"):page.index("## Another user")]
    blocks = re.findall(r"```sql target\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 2
    return [re.sub(r"(?<=['_])shop(?=['/])", old, block).replace("'warehouse'", f"'{new}'") for block in blocks]


def renamed(mirror, new):
    """Its configuration, as the page has it."""
    old = mirror.name
    mirror.name = new
    mirror.configure(slot={"name": old}, publication={"name": old})


def copied_rows(mirror):
    return [line for line in mirror.log_text().splitlines() if " rows copied" in line]


def refused(mirror):
    before = len(mirror.log_text())
    mirror.start()
    assert mirror.wait_ended() == 3, mirror.tail()
    return mirror.log_text()[before:]


@pytest.mark.parametrize("kind", BOTH)
def test_the_steps(shop_into, kind):
    shop = shop_into(kind)
    shop.execute(SETUP)
    mirror, old, new = shop.mirror, shop.name, f"{shop.name}_new"
    mirror.start()
    mirror.wait_caught_up(shop.cluster)
    mirror.stop()
    shop.execute("INSERT INTO t VALUES (1000, 'meanwhile'); UPDATE t SET v = 'changed' WHERE id < 10")
    copied = copied_rows(mirror)
    books, origins = statements(old, new)
    renamed(mirror, new)
    if kind == "postgres":
        # The books have their old name: what is there is somebody's, and stays so.
        assert f"they are those of the mirror {old}" in refused(mirror)
        mirror.into.execute(books)
        mirror.name = old
        mirror.configure()
        assert f"those of the mirror {new}" in refused(mirror), "the old name is nobody's now"
        renamed(mirror, new)
    mirror.start()
    mirror.wait_caught_up(shop.cluster)
    status = mirror.polled()
    assert (status["name"], status["slot"], status["publication"]) == (new, old, old)
    assert copied_rows(mirror) == copied
    if kind == "postgres":
        mirror.into.execute(origins)
        left = mirror.into.query(f"SELECT roname FROM pg_replication_origin WHERE roname LIKE 'tailrace\\_{old}%'")
        assert {name for (name,) in left} <= {f"tailrace_{new}"} | {f"tailrace_{new}/{n}" for n in range(9)}
    listed = {entry["name"]: entry["state"] for entry in json.loads(run("list", "--json").stdout)}
    assert listed[new] == "streaming"
    if kind == "duckdb":
        assert old not in listed, "the file's note has the new name"
    shop.execute("INSERT INTO t VALUES (1001, 'after')")
    assert shop.settle() == 102
    mirror.start()
    shop.execute("INSERT INTO t VALUES (1002, 'after a restart')")
    assert shop.settle() == 103
    assert run("teardown", "-c", mirror.config).returncode == 0
    assert shop.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
                        " UNION ALL SELECT pubname FROM pg_publication") == []
