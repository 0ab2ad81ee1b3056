"""Screen: a small terminal, for what a program draws: it obeys what ours uses (CR, LF, cursor moves, erasing, colours)
and refuses everything else, so that nothing is drawn unseen. OnTerminal runs a command on one."""
import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unicodedata

from tailrace import BINARY
from waiting import PATIENCE

SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def width_of(character):
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class Screen:
    """rows x columns of characters, and what scrolled off above."""

    def __init__(self, rows=24, columns=80):
        self.rows, self.columns = rows, columns
        self.cells = [[" "] * columns for _ in range(rows)]
        self.scrolled = []
        self.row = self.column = 0
        self.coloured = False
        self.text_seen = ""
        self.wrapped = 0  # how often a line was longer than the screen is wide
        self._rest = ""

    def feed(self, text):
        self.text_seen += text
        text = self._rest + text
        self._rest = ""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                match = SEQUENCE.match(text, at)
                if not match:
                    assert len(text) - at < 12, f"not understood: {text[at:at + 12]!r}"
                    self._rest = text[at:]
                    return
                self._obey(match[2], match[1])
                at = match.end()
                continue
            self._write(text[at])
            at += 1

    def _obey(self, letter, argument):
        if letter == "m":
            self.coloured = self.coloured or argument not in ("", "0")
        elif letter == "A":
            self.row = max(0, self.row - int(argument or 1))
        elif letter == "H" and argument == "":
            self.row = self.column = 0
        elif letter == "J" and argument in ("", "0"):
            self._blank(self.row, self.column)
            for row in range(self.row + 1, self.rows):
                self._blank(row, 0)
        elif letter == "K" and argument in ("", "0"):
            self._blank(self.row, self.column)
        else:
            raise AssertionError(f"not understood: ESC[{argument}{letter}")

    def _blank(self, row, column):
        self.cells[row][column:] = [" "] * (self.columns - column)

    def _write(self, character):
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._next_row()
        else:
            assert character.isprintable(), f"not understood: {character!r}"
            width = width_of(character)
            if width == 0:
                return
            if self.column + width > self.columns:
                self.wrapped += 1
                self.column = 0
                self._next_row()
            self.cells[self.row][self.column] = character
            for extra in range(1, width):
                self.cells[self.row][self.column + extra] = ""
            self.column += width

    def _next_row(self):
        if self.row + 1 < self.rows:
            self.row += 1
            return
        self.scrolled.append("".join(self.cells.pop(0)).rstrip())
        self.cells.append([" "] * self.columns)

    def resize(self, rows, columns):
        """As a terminal does whose cursor stands above what is cut off: lines are cut, not wrapped."""
        self.cells = [(row + [" "] * columns)[:columns] for row in self.cells[:rows]]
        self.cells += [[" "] * columns for _ in range(rows - len(self.cells))]
        self.rows, self.columns = rows, columns
        self.row, self.column = min(self.row, rows - 1), min(self.column, columns - 1)

    def lines(self):
        """What is seen, without empty lines at the end."""
        out = ["".join(row).rstrip() for row in self.cells]
        while out and not out[-1]:
            out.pop()
        return out

    def all_lines(self):
        return self.scrolled + self.lines()

    def __str__(self):
        return "\n".join(self.lines())


class OnTerminal:
    """A command of ours whose standard output and error are a terminal."""

    def __init__(self, *arguments, rows=24, columns=80, env=None, cwd=None):
        self.screen = Screen(rows, columns)
        self._ours, theirs = pty.openpty()
        self._set_size(theirs)
        self.process = subprocess.Popen([BINARY, *map(str, arguments)], stdout=theirs, stderr=theirs,
                                        stdin=subprocess.DEVNULL, cwd=cwd,
                                        env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **(env or {})})
        os.close(theirs)
        self._open = True
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def _set_size(self, descriptor):
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", self.screen.rows, self.screen.columns, 0, 0))

    def resize(self, rows, columns):
        self.read()
        self.screen.resize(rows, columns)
        self._set_size(self._ours)

    def read(self, seconds=0.0):
        """Takes in what comes within that time, and all that is there."""
        deadline = time.monotonic() + seconds
        while self._open:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._ours], [], [], left)[0]:
                break
            try:
                data = os.read(self._ours, 65536)
            except OSError:
                data = b""
            if not data:
                self._open = False
                break
            self.screen.feed(self._decoder.decode(data))
        return self.screen

    def wait_for(self, what, timeout=60):
        """Until the screen satisfies `what`: a text on it, or a function of it."""
        deadline = time.monotonic() + timeout * PATIENCE
        condition = what if callable(what) else lambda screen: what in str(screen)
        while not condition(self.read(0.05)):
            assert self._open, f"it ended without {what}:\n{self.screen}"
            assert time.monotonic() < deadline, f"waited for {what}:\n{self.screen}"
        return self.screen

    def end(self, number=signal.SIGINT, timeout=30):
        """The exit code, after a signal, or with None by itself."""
        if number is not None:
            self.process.send_signal(number)
        deadline = time.monotonic() + timeout * PATIENCE
        while self._open and time.monotonic() < deadline:
            self.read(0.05)
        return self.process.wait(timeout * PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)
