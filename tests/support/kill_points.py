"""The named places at which the program can be made to end itself (src/base/kill_point.h)."""
import re
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src"


def kill_points():
    """All names, sorted."""
    names = [name for path in SOURCES.rglob("*.cpp") if not path.name.endswith("_test.cpp")
             for name in re.findall(r'kill_point\("([^"]+)"\)', path.read_text())]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"one name for several places: {twice}"
    return sorted(names)


def points_of_copies():
    """Those that a mirror can pass which copies its tables; the others are of one that goes on from rows that are
    there (test_start_as_of.py), of one that begins anew (test_copied_anew.py), of columns whose types were chosen
    (test_duckdb_types.py), or of a first start that takes back what it made (test_taken_back.py)."""
    return [name for name in kill_points() if not name.endswith((".adopt.committed", ".copy_as_text.committed"))
            and ".begin_anew." not in name and not name.startswith(("session.", "undo."))]


def killed_at(name, passage=1):
    """What to add to the environment."""
    return {"TAILRACE_KILL_POINT": f"{name}:{passage}"}
