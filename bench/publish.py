"""The table and the plot of a run, in docs/: docs/performance.md between its two marks, and
docs/performance.svg, which has a line for each figure."""

import math
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from bench.report import Figure, Machine, table

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- the latest run: begin -->", "<!-- the latest run: end -->"

WIDTH, NAMES, RIGHT = 900, 300, 110
ROW, TOP, BOTTOM = 26, 62, 34
FROM, TO = 0.5, 8.0
"""The axis, in musts: how many times as good as it has to be."""

INK, FAINT, GOOD, BAD = "#1f2933", "#c5ced6", "#14746f", "#b42318"


def publish(figures: Sequence[Figure], on: Machine, docs: Path = DOCS) -> None:
    """Raises ValueError where docs/performance.md has lost its marks."""
    page = docs / "performance.md"
    text = page.read_text("utf-8")
    before, found, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise ValueError(f"{page}: expected {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{table(figures, on)}\n\n{END}{after}", "utf-8")
    (docs / "performance.svg").write_text(plot(figures, on), "utf-8")


def plot(figures: Sequence[Figure], on: Machine) -> str:
    """SVG: each figure against its must, which is 1; right of it is better. The line goes from the
    worst round to the best, the dot is their median, the small stroke is the goal."""
    shown = [figure for figure in figures if figure.rounds and figure.must]
    height = TOP + ROW * len(shown) + BOTTOM
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
    parts = [
        f'{svg} viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 24, "Measured, in multiples of what must be", weight=600, size=15),
        _text(16, 44, f"{on.measured_at}, commit {on.commit}, {on.cores} cores, {on.cpu}"),
    ]
    for at in (0.5, 1, 2, 4, 8):
        x = _x(at)
        color = INK if at == 1 else FAINT
        parts.append(_line(x, TOP - 6, x, height - BOTTOM, color))
        parts.append(_text(x, height - 12, f"{at:g}", anchor="middle"))
    for number, figure in enumerate(shown):
        parts.extend(_row(figure, TOP + ROW * number + ROW // 2))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _row(figure: Figure, y: int) -> list[str]:
    """One figure: its name, its rounds, its median and its goal."""
    worst, best = sorted(_times_must(figure, f(figure.rounds)) for f in (min, max))
    value = _times_must(figure, figure.value)
    color = GOOD if value >= 1 else BAD
    goal = _x(_times_must(figure, figure.goal))
    return [
        _text(NAMES - 12, y + 4, figure.name.replace("_", " "), anchor="end"),
        _line(goal, y - 7, goal, y + 7, INK),
        _line(_x(worst), y, _x(best), y, color, width=3),
        f'<circle cx="{_x(value):.1f}" cy="{y}" r="5" fill="{color}"/>',
        _text(WIDTH - RIGHT + 16, y + 4, f"{figure.value:.2f}", weight=600),
    ]


def _times_must(figure: Figure, value: float) -> float:
    """How many times as good as the must: 2 is twice as much, or half the cost."""
    if figure.is_cost:
        return figure.must / value if value > 0 else TO
    return value / figure.must


def _x(times: float) -> float:
    share = math.log(min(max(times, FROM), TO) / FROM) / math.log(TO / FROM)
    return round(NAMES + share * (WIDTH - NAMES - RIGHT), 1)


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", weight: int = 400, size: int = 13
) -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}"'
        f' fill="{INK}">{escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, color: str, *, width: int = 1) -> str:
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{color}" stroke-width="{width}"/>'
    )
