"""The demo, as `make demo` runs it once everything is built. Invariants: it shows what it promises, ends well, and
leaves neither a process nor a file."""
import os
import subprocess
import tempfile
from pathlib import Path

from cluster import SERVERS
from tailrace import BINARY, REPOSITORY
from waiting import PATIENCE


def test_the_demo():
    with tempfile.TemporaryDirectory(prefix="tailrace-demo-", dir=SERVERS) as name:
        folder = Path(name)
        folder.chmod(0o755)  # its server may be another user's
        env = {**os.environ, "TAILRACE_BIN": BINARY, "TMPDIR": name, "TAILRACE_SERVERS": name}
        outcome = subprocess.run([REPOSITORY / "demo/run"], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                 env=env, timeout=180 * PATIENCE, check=False)
        said = outcome.stdout + outcome.stderr
        assert outcome.returncode == 0, said
        assert "all of them were in the file" in said and "Everything the demo made is gone again" in said, said
        assert "DIFFERENT" not in said, said
        for words in ("$ tailrace run ", "$ tailrace status ", "  streaming  pid "):
            assert words in said, f"the program's own screen: {said}"
        assert not list(folder.iterdir()), list(folder.iterdir())
        assert not processes_of(name)


def processes_of(folder):
    """Those that have it in their command lines, as the demo's server, or their environments, as its mirror."""
    out = []
    for entry in os.scandir("/proc"):
        try:
            words = Path(entry.path, "cmdline").read_bytes() + Path(entry.path, "environ").read_bytes()
        except OSError:
            continue  # not a process, another user's, or it ended
        if os.fsencode(folder) in words:
            out.append(words)
    return out
