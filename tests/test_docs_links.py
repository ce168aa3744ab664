"""The documentation hangs together: every page is in the index, and no link leads nowhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = (
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "clients").rglob("*.md")),
)
LINK = re.compile(r"\]\(([^()\s]+)\)")
FLAGS = re.MULTILINE | re.DOTALL
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", FLAGS)
"""Links are not looked for in it, nor headings."""


def links(page: Path) -> list[str]:
    """The targets of a page's links within this repository."""
    found = LINK.findall(CODE.sub("", page.read_text()))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """What `#...` may name in it, by the rule of the forges: lower case, dashes for spaces."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=FLAGS)
    slugs: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        number = 0
        while (numbered := f"{slug}-{number}" if number else slug) in slugs:
            number += 1
        slugs.add(numbered)
    return slugs


def dead(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return True
    return bool(anchor) and (target.is_dir() or anchor not in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_dead(page: Path) -> None:
    assert [link for link in links(page) if dead(page, link)] == []


def test_every_page_is_in_the_index_and_the_index_in_the_readme() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / link.partition("#")[0]).resolve() for link in links(index)}
    pages = {page for page in DOCS.rglob("*.md") if page.parent != DOCS / "decisions"} - {index}
    assert sorted(pages - linked) == []
    assert DOCS / "decisions" in linked
    assert "docs/README.md" in links(ROOT / "README.md")


@pytest.mark.parametrize(
    ("subject", "name", "least"),
    [("A verb", "approve", 15), ("A payment provider", "stripe", 15), ("A language", "hi", 7)],
)
def test_the_files_that_contributors_are_sent_to_are_there(
    subject: str, name: str, least: int
) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    (section,) = re.findall(rf"^\*\*{subject}[^*]*\*\*, `{name}`.*?(?=^\*\*|\Z)", text, FLAGS)
    files = re.findall(r"`([\w/.]+/[\w.]+)`", section)
    assert len(files) >= least
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_contributors_are_sent_to_every_text_of_a_language() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    folder = ROOT / "src" / "earnest" / "checkout" / "languages" / "hi"
    assert [each for each in folder.iterdir() if str(each.relative_to(ROOT)) not in text] == []


def test_a_dead_link_is_found() -> None:
    why = DOCS / "why.md"
    assert not dead(why, "production.md#6-replicas-and-failover")
    assert not dead(why, "#one-door-for-money")
    for link in ("nowhere.md", "production.md#nothing", "#nothing", "../../elsewhere.md"):
        assert dead(why, link)
