"""The table and the plot in docs/ are those of the run that was published."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from bench.publish import BEGIN, END, NAMES, RIGHT, WIDTH, plot, publish
from bench.report import Figure, machine

ON = machine("18.6", [0.01], {"releases": [4_000.0]}, {})
FIGURES = [
    Figure("twice_as_good", (1.0, 1.2, 1.4), 0.6, 1.0),
    Figure("half_as_good", (0.3,), 0.6, 1.0),
    Figure("a_cost_twice_as_good", (30.0,), 60, 20, is_cost=True),
    Figure("reported_only", (0.7,), 0, 0.85),
    Figure("absent", (), 8, 15, why_not="no network"),
]
DOT = "{http://www.w3.org/2000/svg}circle"


def dots(figures: list[Figure]) -> list[tuple[float, str]]:
    """Where each figure's median is, and its color."""
    tree = ET.fromstring(plot(figures, ON))
    return [(float(dot.attrib["cx"]), dot.attrib["fill"]) for dot in tree.iter(DOT)]


def test_each_figure_that_was_measured_against_a_must_has_its_dot() -> None:
    (good, green), (bad, red), (cost, green_too) = dots(FIGURES)
    assert good == cost > bad
    assert green == green_too != red


def test_what_is_beyond_the_axis_stays_on_it() -> None:
    [(much, _), (nothing, _), (free, _)] = dots(
        [
            Figure("much", (60.0,), 0.6, 1.0),
            Figure("nothing", (0.01,), 0.6, 1.0),
            Figure("free", (0.0,), 60, 30, is_cost=True),
        ]
    )
    assert much == free == WIDTH - RIGHT
    assert nothing == NAMES


def test_the_page_has_the_table_of_the_run_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"before\n{BEGIN}\nthe last table\n{END}\nafter\n")
    publish(FIGURES, ON, tmp_path)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "the last table" not in text
    assert "| twice_as_good | **1.20** | 1.00 to 1.40 | 0.6 | 1.0 | goal |" in text
    assert "not measured: no network" in text
    publish(FIGURES, ON, tmp_path)
    assert page.read_text() == text
    assert (tmp_path / "performance.svg").read_text() == plot(FIGURES, ON)


def test_a_page_without_its_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="begin"):
        publish(FIGURES, ON, tmp_path)
    assert page.read_text() == "nothing"
    assert not (tmp_path / "performance.svg").exists()
