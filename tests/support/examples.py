"""The documentation's examples: the fenced blocks of each page, in order, and the code within its sentences."""
import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.M | re.S)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def pages():
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")),
            *sorted((REPOSITORY / "docs/dev").glob("*.md")), REPOSITORY / "bench/README.md"]


def named(page):
    return str(page.relative_to(REPOSITORY))


@dataclass
class Block:
    """`kind` is what stands behind the fence: sh, yaml, sql source, sql target, sql duckdb, text."""

    page: str
    line: int
    kind: str
    text: str

    def commands(self):
        """The lines of a shell block without their comments, continued ones joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        lines = [re.sub(r"(^|\s+)#\s.*$", "", line).strip() for line in lines]
        return [re.sub(r"\s+", " ", line) for line in lines if line]


def blocks(page):
    text = page.read_text(encoding="utf-8")
    return [Block(named(page), text.count("\n", 0, match.start()) + 1, match[1].strip(), match[2])
            for match in FENCE.finditer(text)]


def spans(page):
    """Code within sentences and tables."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(match[1].split()) for match in SPAN.finditer(text)]


def links(page):
    return LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8")))


def anchors(page):
    """What GitHub makes of the titles."""
    titles = re.findall(r"^#+ +(.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
