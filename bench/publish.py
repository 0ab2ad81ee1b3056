"""The results as a page of Markdown, with a chart of bars beside it."""
import datetime
import html
import subprocess
from pathlib import Path

BAR, GAP, LABEL, UNIT, WIDTH = 22, 10, 380, 110, 860


def commit():
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip() or "unknown"


def processor():
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def write(file, machine, command, tables, bars):
    """`bars`: [(label, times as fast, wanted or None)]."""
    file = Path(file)
    lines = ["# Benchmarks: PostgreSQL to PostgreSQL", "",
             f"Written by `{command}` on {datetime.date.today()}, at commit {commit()}. What the columns mean, and how"
             " far to trust them, is in `bench/README.md`.", "", f"{machine}; {processor()}.", ""]
    if bars:
        picture = file.with_suffix(".svg")
        picture.write_text(chart(bars), encoding="utf-8")
        lines += [f"![tailrace against a subscription, times as fast]({picture.name})", ""]
    for table in tables:
        lines += [f"## {table.title}", "", row(table.header), row(["---", *["---:"] * (len(table.header) - 2), "---"])]
        lines += [row(cells) for cells in table.rows] + [""]
    file.write_text("\n".join(lines), encoding="utf-8")


def row(cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def chart(bars):
    """One bar each; a line at 1 for the subscription, a tick at what is wanted."""
    longest = max([1, *(max(speed, wanted or 0) for _, speed, wanted in bars)])
    unit = min(UNIT, (WIDTH - LABEL - 80) / longest)
    bottom = GAP + len(bars) * (BAR + GAP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 24}"'
             ' font-family="sans-serif" font-size="13">', '<rect width="100%" height="100%" fill="white"/>']
    for number, (label, speed, wanted) in enumerate(bars):
        top = GAP + number * (BAR + GAP)
        color = "#2a7f62" if not wanted or speed >= wanted else "#c0763a"
        parts += [f'<text x="{LABEL - 8}" y="{top + 15}" text-anchor="end">{html.escape(label)}</text>',
                  f'<rect x="{LABEL}" y="{top}" width="{speed * unit:.1f}" height="{BAR}" fill="{color}"/>',
                  f'<text x="{LABEL + max(speed, wanted or 0) * unit + 6:.1f}" y="{top + 15}">{speed:.2f}x</text>']
        if wanted:
            parts.append(line(LABEL + wanted * unit, top - 2, top + BAR + 2, "#222"))
    parts += [line(LABEL + unit, 0, bottom, "#999", dashed=True),
              f'<text x="{LABEL + unit:.1f}" y="{bottom + 14}" text-anchor="middle" fill="#555">subscription</text>',
              "</svg>"]
    return "\n".join(parts) + "\n"


def line(x, top, bottom, color, dashed=False):
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" stroke="{color}"{dashes}/>'
