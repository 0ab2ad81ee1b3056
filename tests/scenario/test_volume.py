"""Much of something. Invariant: at the checkpoint's LSN the target equals the source, and memory stays bounded."""
import pytest


def peak_memory(process):
    """VmHWM of a running process, in bytes."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


@pytest.mark.slow
def test_big_transactions(shop):
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text, n numeric(10,2))")
    shop.mirror.start()
    shop.mirror.wait_streaming()
    shop.execute("INSERT INTO t SELECT i, md5(i::text), i * 0.01 FROM generate_series(1, 200000) i")
    shop.execute("UPDATE t SET n = n + 1 WHERE id % 2 = 0")
    shop.execute("UPDATE t SET id = id + 1000000 WHERE id % 10 = 0")
    shop.execute("DELETE FROM t WHERE id % 3 = 0")
    shop.mirror.wait_caught_up(shop.cluster, timeout=120)
    shop.verified()
    assert shop.settle() > 100000


def test_chunked_transaction_with_key_traffic(shop):
    """A transaction far larger than a batch, whose rows are touched again and again in different chunks."""
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v text, round int); INSERT INTO t SELECT i FROM"
                 " generate_series(1, 5000) i")
    shop.mirror.configure(limits={"batch": "1MB", "queue": "1MB"})
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    rounds = ";".join(
        f"UPDATE t SET round = {step}, v = repeat(md5(id::text), 10);"
        f"DELETE FROM t WHERE id % 10 = {step % 10};"
        f"INSERT INTO t SELECT i, 'back', {step} FROM generate_series({step % 10}, 5000, 10) i WHERE i > 0;"
        f"UPDATE t SET id = -id WHERE id % 13 = {step}" for step in range(8))
    shop.execute(f"BEGIN; {rounds}; COMMIT")
    shop.settle(timeout=120)


def test_many_small_transactions(shop):
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int, at timestamptz)")
    shop.mirror.start()
    shop.mirror.wait_streaming()
    with shop.connect() as writer:
        for step in range(3000):
            writer.execute("INSERT INTO t VALUES (%s, 0) ON CONFLICT (id) DO UPDATE SET v = t.v + 1", (step % 700,))
            if step % 3 == 0:
                writer.execute("INSERT INTO u VALUES (%s, now())", (step,))
    assert shop.settle(timeout=120) == 1700


@pytest.mark.slow
def test_wide_rows_stay_within_memory(shop):
    """Rows of eight megabytes, copied and streamed, under the default limits. Larger ones need a larger limit:
    docs/guarantees.md."""
    body = "(SELECT string_agg(md5(i::text || %d), '') FROM generate_series(1, 250000) i)"
    shop.execute("CREATE TABLE t (id int PRIMARY KEY, body text, n int);"
                 "ALTER TABLE t ALTER body SET STORAGE EXTERNAL;" +
                 ";".join(f"INSERT INTO t VALUES ({i}, {body % i}, 0)" for i in range(4)))
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster, timeout=120)
    for i in range(4, 8):
        shop.execute(f"INSERT INTO t VALUES ({i}, {body % i}, 0); UPDATE t SET n = n + 1 WHERE id = {i - 4}")
    shop.mirror.wait_caught_up(shop.cluster, timeout=120)
    assert peak_memory(shop.mirror.process) < 512 << 20
    shop.settle()
