"""Copy, then follow, on every supported server. Invariant: at the checkpoint's LSN the target equals the source."""
import pytest

SCHEMA = """
CREATE TYPE mood AS ENUM ('happy', 'so-so', 'sad');
CREATE TABLE customers (id bigserial PRIMARY KEY, email text NOT NULL, born date, mood mood,
  balance numeric(12,2) DEFAULT 0, tags text[], extra jsonb, seen timestamptz);
CREATE TABLE visits (at timestamptz NOT NULL, customer bigint, page text);
INSERT INTO customers (email, born, mood, balance, tags, extra, seen)
  SELECT 'c' || i || '@example.com', date '1970-01-01' + i % 15000, (ARRAY['happy', 'so-so', 'sad'])[1 + i % 3]::mood,
         i * 0.37, ARRAY['a' || i, NULL, 'b'], jsonb_build_object('n', i),
         timestamptz '2024-01-01' + i * interval '1 min'
  FROM generate_series(1, 5000) i;
INSERT INTO visits SELECT now(), i % 100, '/p/' || i FROM generate_series(1, 3000) i;
"""

CHANGES = [
    "INSERT INTO customers (email, mood) SELECT 'new' || i, 'sad' FROM generate_series(1, 500) i",
    "UPDATE customers SET balance = balance + 1, seen = now() WHERE id % 7 = 0",
    "UPDATE customers SET tags = NULL, extra = NULL WHERE id % 11 = 0",
    "DELETE FROM customers WHERE id % 5 = 0",
    "INSERT INTO visits SELECT now(), i, NULL FROM generate_series(1, 100) i",
    "BEGIN; UPDATE customers SET email = upper(email) WHERE id < 100; DELETE FROM customers WHERE id = 1; ROLLBACK",
    "UPDATE customers SET id = id + 1000000 WHERE id BETWEEN 100 AND 110",
]


@pytest.mark.parametrize("binary", ["auto", "off"])
def test_copy_and_follow(version, shop_on, binary):
    shop = shop_on(version)
    shop.execute(SCHEMA)
    shop.mirror.configure(binary=binary)
    shop.mirror.start()
    shop.mirror.wait_streaming()
    for change in CHANGES:
        shop.execute(change)
    shop.mirror.wait_caught_up(shop.cluster)
    shop.verified()
    assert shop.settle() > 7000


@pytest.mark.slow
def test_copy_under_writes(version, shop_on):
    """Changes that happen during the copy are in the copy or in the stream, never in both or in none."""
    shop = shop_on(version)
    shop.execute(SCHEMA)
    shop.execute("INSERT INTO visits SELECT now(), i % 100, repeat('x', 100) FROM generate_series(1, 200000) i")
    shop.mirror.start()
    with shop.connect() as writer:
        status = shop.mirror.wait_status(lambda status: True)
        written = 0
        while status["state"] != "streaming" or written < 50:
            writer.execute("INSERT INTO customers (email) VALUES ('during' || %s)", (written,))
            writer.execute("UPDATE customers SET balance = balance + 1 WHERE id = %s", (written % 5000 + 1,))
            writer.execute("INSERT INTO visits VALUES (now(), %s, 'during')", (written,))
            written += 1
            if written % 20 == 0:
                status = shop.mirror.status() or status
                assert shop.mirror.running(), shop.mirror.tail()
    assert shop.settle() > 200000


@pytest.mark.parametrize("version", [14, 16, 18], ids=lambda version: f"pg{version}")
def test_streamed_transactions(version, own_cluster, shop_on):
    """Large transactions that arrive before they commit, interleaved, with aborted subtransactions."""
    shop = shop_on(own_cluster(version, logical_decoding_work_mem="64kB"))
    shop.execute("CREATE TABLE items (id bigint PRIMARY KEY, body text)")
    shop.mirror.start()
    shop.mirror.wait_streaming()
    with shop.connect(autocommit=False) as one, shop.connect(autocommit=False) as two:
        for step in range(10):
            one.execute("INSERT INTO items SELECT i, repeat('1', 50) FROM generate_series(%s::int, %s::int) i",
                        (step * 10000, step * 10000 + 1999))
            two.execute("INSERT INTO items SELECT i, repeat('2', 50) FROM generate_series(%s::int, %s::int) i",
                        (step * 10000 + 5000, step * 10000 + 6999))
            one.execute("SAVEPOINT s")
            one.execute("UPDATE items SET body = 'wrong' WHERE id % 3 = 0")
            one.execute("ROLLBACK TO s" if step % 2 else "RELEASE s")
        two.commit()
        one.execute("DELETE FROM items WHERE id % 10 = 1 AND body LIKE '1%'")
        one.commit()
        two.execute("DELETE FROM items")
        two.rollback()
    assert shop.settle() > 30000
