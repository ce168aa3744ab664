"""What the pages say: every text in every language, names isolated, amounts as people write."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from markupsafe import Markup, escape

import earnest.checkout
import earnest.web
from earnest.checkout.wording import Language, language_for, read_texts, wording

PACKAGE = Path(earnest.checkout.__file__).parent
TEMPLATES = [
    *(PACKAGE / "templates").rglob("*.html"),
    *(Path(earnest.web.__file__).parent / "templates" / "sandbox").glob("*.html"),
]
PLACEHOLDER = re.compile(r"\{(\w*)\}")
SCRIPT = {Language.ARABIC: r"[\u0600-\u06ff]", Language.HINDI: r"[\u0900-\u097f]"}
NASTY = "<b>{7} {{7*7}} & \u202e"
ENGLISH = read_texts(Language.ENGLISH)


@pytest.mark.parametrize("language", Language)
def test_it_says_everything_in_every_language(language: Language) -> None:
    texts = read_texts(language)
    assert set(texts) == set(ENGLISH)
    for key, text in texts.items():
        assert text.strip() == text != "", key
        assert sorted(PLACEHOLDER.findall(text)) == sorted(PLACEHOLDER.findall(ENGLISH[key])), key
        assert not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069<>&]", text), key
        if language in SCRIPT and not ENGLISH[key].isupper():  # IBAN is IBAN everywhere
            assert re.search(SCRIPT[language], text), key


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_it_says_what_the_templates_ask_for(path: Path) -> None:
    source = path.read_text()
    for key in re.findall(r"\bt(?:\.plain)?\(\s*[\"']([\w.-]+)[\"']\s*[,)]", source):
        assert key in ENGLISH
    # A key that is put together: its beginning and its end occur.
    for start, end in re.findall(
        r"\bt(?:\.plain)?\(\s*[\"']([\w.-]+)[\"'] ~ [\w.]+(?: ~ [\"']([\w.-]+)[\"'])?", source
    ):
        assert any(key.startswith(start) and key.endswith(end) for key in ENGLISH)


def test_it_leaves_no_text_unused() -> None:
    sources = "".join(path.read_text() for path in [*TEMPLATES, *PACKAGE.rglob("*.py")])
    sources += "".join(path.read_text() for path in Path(earnest.web.__file__).parent.glob("*.py"))
    spelled = set(re.findall(r"[\"']([\w-]+\.[\w.-]*)[\"']", sources))
    for key in ENGLISH:
        starts = {key[: end.end()] for end in re.finditer(r"[.-]", key)}
        assert key in spelled or starts & spelled, key


def test_it_isolates_and_escapes_what_it_is_given() -> None:
    for language in Language:
        t = wording(language)
        key = next(key for key in t.texts if "{business}" in t.texts[key])
        said = t(key, **dict.fromkeys(PLACEHOLDER.findall(t.texts[key]), NASTY))
        assert f"<bdi>{escape(NASTY)}</bdi>" in said
        assert "<b>" not in said
        plain = t.plain(key, **dict.fromkeys(PLACEHOLDER.findall(t.texts[key]), "<b>"))
        assert "\u2068<b>\u2069" in plain
        markup = t(key, **dict.fromkeys(PLACEHOLDER.findall(t.texts[key]), Markup("<i>x</i>")))
        assert "<i>x</i>" in markup


AMOUNTS = [
    (Language.ENGLISH, 114_375, "SAR", "SAR\u00a01,143.75"),
    (Language.ENGLISH, 1_234, "JPY", "JPY\u00a01,234"),
    (Language.ENGLISH, 1_234_567, "KWD", "KWD\u00a01,234.567"),
    (Language.ENGLISH, 1_234, "IQD", "IQD\u00a01.234"),
    (Language.ENGLISH, 5, "INR", "INR\u00a00.05"),
    (Language.HINDI, 123_456_789, "INR", "INR\u00a012,34,567.89"),
    (Language.ARABIC, 114_375, "SAR", "1,143.75\u00a0ر.س."),
    (Language.ARABIC, 1_234_567, "KWD", "1,234.567\u00a0د.ك."),
    (Language.ARABIC, 1_234, "JPY", "1,234\u00a0JPY"),
]


@pytest.mark.parametrize(("language", "minor", "currency", "written"), AMOUNTS)
def test_it_writes_amounts(language: Language, minor: int, currency: str, written: str) -> None:
    assert wording(language).amount(minor, currency) == written
    assert wording(language).money(minor, currency) == f"<bdi>{written}</bdi>"


def test_it_writes_days_and_moments() -> None:
    at = datetime(2026, 6, 1, 14, 5, tzinfo=UTC)
    assert "1 June 2026, 14:05 UTC" in wording(Language.ENGLISH).moment(at)
    assert "1 يونيو 2026" in wording(Language.ARABIC).day(at)
    assert "1 يونيو 2026، 14:05 UTC" in wording(Language.ARABIC).moment(at)
    assert "1 जून 2026" in wording(Language.HINDI).day(at)
    assert 'datetime="2026-06-01T14:05:00+00:00"' in wording(Language.HINDI).day(at)


PREFERENCES = [
    ("", "en"),
    ("ar", "ar"),
    ("ar-SA,ar;q=0.9,en;q=0.8", "ar"),
    ("en, ar;q=0.5", "en"),
    ("fr, hi-IN;q=0.8, en;q=0.7", "hi"),
    ("de, fr", "en"),
    ("AR-eg", "ar"),
    ("ar;q=0, hi;q=0.001", "hi"),
    ("ar;q=nan, hi;q=2, ar;q=-1, hi;q=x, ar;v=1", "en"),
    ("ar ; q = 0.5", "ar"),
    ("*", "en"),
    (",;=" * 500, "en"),
    ("arabic, hindi", "en"),
]


@pytest.mark.parametrize(("accepted", "language"), PREFERENCES)
def test_it_speaks_the_language_that_the_browser_prefers(accepted: str, language: str) -> None:
    assert language_for(accepted) == language
