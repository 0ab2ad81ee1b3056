"""The disk of a DuckDB file runs full, and later has room again. Invariant: nothing is acknowledged that is not there,
the process stays and says what to do, and in the end every row of the target equals the source's."""
import contextlib
import os
import shutil
import subprocess

import pytest

import workload
from duckdb_file import DuckdbFile
from targets import DuckdbTarget
from waiting import wait_until

pytestmark = pytest.mark.duckdb("a file's disk")
SEED = os.environ.get("TAILRACE_SEED") or "1"
ADVICE = "Free space on the disk of the target file"


@pytest.fixture
def disk(tmp_path):
    """A file system of 64 MB. A `filler` on it takes the room away."""
    path = tmp_path / "disk"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tailrace-test", path], capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def fill(disk, leave):
    """Takes all room but so many bytes."""
    with open(disk / "filler", "wb") as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(1 << 16))
            filler.flush()
    with contextlib.suppress(OSError):
        os.truncate(disk / "filler", os.path.getsize(disk / "filler") - leave)


def make_room(disk):
    (disk / "filler").unlink()


def wait_full(mirror, times=1):
    """Until its log, which goes on over restarts, has told it so often."""
    wait_until(lambda: mirror.log_text().count(ADVICE) >= times, timeout=60,
               what=lambda: f"a full disk: {mirror.tail()}")
    assert mirror.running(), mirror.tail()


@pytest.mark.parametrize("leave", [0, 100_000, 3_000_000])
def test_full_while_it_follows(shop, disk, leave):
    """At the first commit, between two, and within a batch."""
    shop.execute(workload.SETUP)
    mirror = shop.another(name=shop.name, into=DuckdbTarget(disk / "mirror.duckdb"))
    mirror.start()
    mirror.wait_caught_up(shop.cluster)
    fill(disk, leave)
    with workload.Workload(shop.connect, seed=SEED):
        wait_full(mirror)
        make_room(disk)
        mirror.wait_streaming()
    shop.settle(mirror)


@pytest.mark.parametrize("leave", [16384, 200_000])
def test_full_while_it_copies(shop, disk, leave):
    """With so little room, its own tables do not fit; with a little more, the rows do not."""
    shop.execute(workload.SETUP)
    shop.execute("INSERT INTO transfers (giver, taker) SELECT random() * 1e9, i FROM generate_series(1, 60000) i")
    mirror = shop.another(name=shop.name, into=DuckdbTarget(disk / "mirror.duckdb"))
    fill(disk, leave)
    mirror.start()
    wait_full(mirror)
    make_room(disk)
    assert shop.settle(mirror) > 60000


@pytest.mark.parametrize("leave", [0, 8192])
def test_full_at_the_first_start(shop, disk, leave):
    """Somebody is watching then: it ends, and nothing is in the way of the next start."""
    shop.execute(workload.SETUP)
    mirror = shop.another(name=shop.name, into=DuckdbTarget(disk / "mirror.duckdb"))
    fill(disk, leave)
    mirror.start()
    assert mirror.wait_ended() == 5
    assert ADVICE in mirror.log_text()
    assert [path.name for path in disk.iterdir()] == ["filler"]
    make_room(disk)
    mirror.start()
    shop.settle(mirror)


def fill_before_a_snapshot(shop, disk, leave):
    """A mirror that took it as far as there was room."""
    shop.execute(workload.SETUP)
    shop.execute("INSERT INTO transfers (giver, taker) SELECT random() * 1e9, i FROM generate_series(1, 300000) i")
    mirror = shop.another(name=shop.name, into=DuckdbTarget(disk / "mirror.duckdb"))
    fill(disk, leave)
    mirror.start(command="snapshot")
    assert mirror.wait_ended() == 5, mirror.tail()
    assert ADVICE in mirror.log_text()
    return mirror


def take_it_whole(shop, disk, mirror):
    make_room(disk)
    mirror.start(command="snapshot")
    assert mirror.wait_ended() == 0, mirror.tail()
    assert shop.compared(mirror) > 300000
    assert shop.value("SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == 0


@pytest.mark.parametrize("leave", [0, 8192])
def test_full_at_a_snapshots_start(shop, disk, leave):
    mirror = fill_before_a_snapshot(shop, disk, leave)
    assert [path.name for path in disk.iterdir()] == ["filler"]
    take_it_whole(shop, disk, mirror)


def tables_not_copied(file, directory):
    """By the file's own books; none of them is to be seen in it. It is opened elsewhere: to replay its log needs
    room."""
    directory.mkdir()
    for path in file.parent.glob(file.name + "*"):
        shutil.copy(path, directory)
    with DuckdbFile(directory / file.name) as opened:
        missing = {name for name, in opened.query("SELECT source_name FROM tailrace.tables WHERE NOT copied")}
        assert not missing & {name for _, name in opened.tables()}
    return missing


@pytest.mark.parametrize("leave", [200_000, 1_500_000])
def test_full_in_the_middle_of_a_snapshot(shop, disk, tmp_path, leave):
    """Of no table a part is left, and the same command takes a whole one."""
    mirror = fill_before_a_snapshot(shop, disk, leave)
    assert not mirror.file.exists() or "transfers" in tables_not_copied(mirror.file, tmp_path / "seen")
    take_it_whole(shop, disk, mirror)


def test_killed_while_it_is_full(shop, disk):
    shop.execute(workload.SETUP)
    mirror = shop.another(name=shop.name, into=DuckdbTarget(disk / "mirror.duckdb"))
    mirror.start()
    mirror.wait_caught_up(shop.cluster)
    fill(disk, 50_000)
    with workload.Workload(shop.connect, seed=SEED):
        wait_full(mirror)
        for _ in range(3):
            mirror.kill()
            told = mirror.log_text().count(ADVICE)
            mirror.start()
            wait_full(mirror, told + 1)
        make_room(disk)
        mirror.wait_streaming()
    shop.settle(mirror)


def test_full_where_a_large_transaction_waits(shop, disk):
    """What the server streams of it before its end is put aside in the directory `spool`."""
    shop.execute(f"ALTER DATABASE {shop.name} SET logical_decoding_work_mem = '64kB'; " + workload.SETUP)
    shop.mirror.configure(spool=str(disk))
    shop.mirror.start()
    shop.mirror.wait_caught_up(shop.cluster)
    fill(disk, 100_000)
    shop.execute("INSERT INTO transfers (giver, taker) SELECT random() * 1e9, i FROM generate_series(1, 60000) i")
    wait_until(lambda: "name another directory in the configuration (spool" in shop.mirror.log_text(),
               what=lambda: f"a full disk: {shop.mirror.tail()}")
    make_room(disk)
    assert shop.settle() > 60000
