"""Programs: what a seed stands for, and how one is run, from its seed or from its steps.

A seed says source, target, their versions, which kinds of steps must come, and at which points the process ends itself.
Consecutive seeds go through all of these in turn, so that a run of SET programs misses none.
"""
import itertools
import random
import shutil
import threading
import time
from pathlib import Path

import definitions  # noqa: F401  (registers its kinds)
from author import KINDS, Author
from cluster import VERSIONS
from field import Fault, Field
from kill_points import points_of_copies

PAIRS = [pair for source in VERSIONS for pair in
         [(source, None)] * 2 + [(source, target) for target in VERSIONS]]
SET = len(PAIRS)
PHASES = 2  # of the programs of the first set, which is all that is run where minutes count; later ones have more
AT_START = ["initialize", "expect_copies", "format", "books"]  # passed by the first start, and never again
COPYING = ["create_table", "copy_part", "finish_copy", "part", "structure", "copy"]  # passed by later copies too
# What makes the process pass a kill point, by the second word of its name; otherwise what follows under None.
PROVOKES = {"widen": ["widened"] * 3, "evolve": ["add_column", "drop_column"], "create_table": ["create_table"],
            "structure": ["create_table", "new_type"], "drop_table": ["recreate_table"],
            "settle_names": ["rotate_table_names", "trade_table_names"], "drop_copies": ["interrupted_copy"],
            "hold": ["guest_index", "guest_index"], "commit": ["insert"], "tidy": ["insert", "idle"],
            None: ["create_table", "recopy"], **dict.fromkeys(AT_START, [])}
RARE = {*AT_START, "drop_copies", "drop_table", "hold", "widen"}  # not passed twice in a program
PROCESS = {"kill", "recopy", "interrupted_copy"}
LATE = {"readd_column"}  # the last of what was compared once, so that nothing copies the table anew for another reason
serial = itertools.count(1)


def dealt(turn, cards, number):
    """That many of the cards: turns that follow each other get those that come next."""
    cards = sorted(cards)
    number = min(number, len(cards))
    return [cards[(turn * number + at) % len(cards)] for at in range(number)]


def pair_of(seed):
    # In steps of seven neighbours differ in both versions, and those that go into a file are spread.
    return PAIRS[seed * 7 % SET]


def turn_of(seed):
    """How many seeds before it have the same kind of target."""
    to_file = [pair_of(at)[1] is None for at in range(SET)]
    one = to_file[seed % SET]
    return seed // SET * to_file.count(one) + to_file[:seed % SET].count(one)


def step_of(point):
    return point.split(".")[1]


def provoking(point, phase):
    """The first start copies all that is there."""
    return [] if phase == 0 and step_of(point) in COPYING else PROVOKES.get(step_of(point), PROVOKES[None])


class Program:
    """without         kinds of steps that are left out; the program is another one then
    kinds, points   those that must come, instead of the seed's turn
    """

    def __init__(self, seed, without=(), kinds=None, points=None):
        self.seed = seed
        self.source, self.target = pair_of(seed)
        other = "duckdb." if self.target else "postgres."
        turn = turn_of(seed)
        self.number = PHASES if seed < SET else 2 * PHASES
        fit = [point for point in points or points_of_copies() if not point.startswith(other)]
        first = [point for point in fit if step_of(point) in AT_START + COPYING]
        later = [point for point in fit if point not in first]
        later = later or [point for point in fit if step_of(point) not in AT_START]
        # One a phase; how the first ones are spread must not go with how the others are.
        self.points = [*dealt(turn, first, 1), *dealt(turn, later, self.number - 1)]
        known = {name for name, (group, _) in KINDS.items() if group == "definition"}
        self.kinds = kinds or dealt(turn, known - set(without), 3 * self.number)
        self.without = without
        self.chance = random.Random(f"program/{seed}")

    @classmethod
    def between(cls, source, target):
        """Any program of a version pair."""
        return next(cls(seed) for seed in range(SET) if pair_of(seed) == (source, target))

    @property
    def pair(self):
        return f"{self.source} -> {self.target or 'DuckDB'}"

    def __str__(self):
        return f"seed {self.seed}: PostgreSQL {self.pair}"

    def phases(self):
        """Lists of what comes between two settles: names of kinds and of what is done to the process."""
        chance = self.chance
        wanted = self.kinds[:]
        chance.shuffle(wanted)
        # Taken from the end. Later sets mix them.
        wanted.sort(key=lambda name: self.seed < SET and name in LATE, reverse=True)
        points = self.points[:]
        rows = [name for name, (group, _) in KINDS.items() if group == "rows"]
        for phase in range(self.number):
            items = [wanted.pop() for _ in range(len(wanted) // (self.number - phase))]
            items += chance.choices(rows, k=chance.randint(3, 6))
            items += ["widened"] * (chance.random() < 0.4)
            chance.shuffle(items)
            if phase > 0 and chance.random() < 0.5:
                items.insert(0, chance.choice(["guest_table", "guest_view"]))
                items.insert(chance.randint(1, len(items)), "name_of_a_guest")
            if chance.random() < 0.3:
                items.append("guest_leaves")
            if chance.random() < 0.15:
                items.append("guest_index")
            if points:
                point = points.pop(0)
                items[0:0] = [f"arm {point}", *provoking(point, phase)]
            how = chance.choice(["live", "live", "backlog", "interrupted"])
            if how == "backlog":
                items.insert(chance.randint(0, 2), chance.choice(["stop", "kill"]))
            elif how == "interrupted":
                items.insert(chance.randint(0, len(items)), "interrupted_copy")
            if chance.random() < 0.3:
                items.insert(chance.randint(0, len(items)), "recopy")
            if chance.random() < 0.5:
                items.insert(chance.randint(0, len(items)), chance.choice(["kill", "restart"]))
            if self.seed < SET:
                items.sort(key=lambda item: item in LATE)
            yield [item for item in items if item not in self.without]

    def steps(self, author):
        """Each step when it is due, for it depends on what came of those before."""
        chance = self.chance
        yield ("setup",)
        for number, items in enumerate(self.phases()):
            if number == 0 and not items[0].startswith("arm") and chance.random() < 0.7:
                yield ("start",)
            for at, item in enumerate(items):
                if item in KINDS:
                    yield from author.write(item, f"{self.seed}/{number}/{at}")
                else:
                    yield from self.process_steps(item, author)
            yield ("settle", chance.choice(["stop", "kill"]))
            author.settled()

    def process_steps(self, item, author):
        chance = self.chance
        word, _, point = item.partition(" ")
        if word == "arm":
            rare = step_of(point) in RARE
            yield ("arm", f"{point}:{1 if rare else chance.choice([1, 1, 1, 1, 2])}")
        elif word == "stop":
            yield ("stop",)
        elif word == "restart":
            yield from [("stop",), ("start",)]
        elif word == "kill":
            yield ("kill", str(int(chance.random() ** 2 * 1500)))
        elif word == "idle":
            # It tidies after five seconds without a change, and is ended then, if not by itself.
            yield ("kill", "20000")
        elif word == "interrupted_copy":
            yield ("interrupted_copy", "interrupted_copy", chance.choice(["kill", "term"]), str(chance.randint(30, 90)))
        elif word == "recopy":
            table = author.chance and author.keyed()
            if table:
                author.touch([table.qualified])
                yield ("recopy", "recopy", table.qualified)


class Servers:
    """Starts those that are asked for, one thread at a time."""

    def __init__(self, clusters):
        self._clusters = clusters
        self._lock = threading.Lock()

    def pair(self, program):
        with self._lock:
            return (self._clusters[program.source],
                    self._clusters.target(program.target) if program.target else None)


class Outcome:
    """What came of a run: the steps that were run, the field with its counts, and the fault, if any."""

    def __init__(self, program, steps, field, fault):
        self.program, self.steps, self.field, self.fault = program, steps, field, fault


def play(program, servers, directory, steps=None, patience=40):
    """Runs a program by its seed, or these steps of it."""
    number = next(serial)
    place = Path(directory) / f"run{number}"
    place.mkdir(parents=True)
    field = Field(*servers.pair(program), f"r{program.seed}_{number}", place, patience)
    done, fault = [], None
    try:
        for step in steps or program.steps(Author(field.connection, field.guests)):
            done.append(step)
            begun = time.monotonic()
            field.step(step)
            field.seconds[step[0]] += time.monotonic() - begun
    except Fault as found:
        fault = found
    finally:
        field.close()
        shutil.rmtree(place)
    return Outcome(program, done, field, fault)
