"""**Wording**: what pages say, in one of the **languages** there are.

The texts lie in `languages/<language>/<subject>.json`; `card.number` is `number` of `card.json`.
Invariants: every key exists in every language (a test), and whatever is put into a text is
escaped and isolated (`<bdi>`), so that no name changes the direction or the markup around it.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
from babel import Locale
from babel.dates import format_datetime
from babel.numbers import NumberPattern, get_currency_symbol, parse_pattern
from markupsafe import Markup, escape

from earnest.domain import money
from earnest.web.languages import preferred

_FOLDER = Path(__file__).parent / "languages"
_DAY = "d MMMM y"
_MOMENT = "d MMMM y{comma} HH:mm 'UTC'"
# The isolates of Unicode, for where no markup can be: a title, a label.
_ISOLATE, _END = "\u2068", "\u2069"


class Language(StrEnum):
    """A language of the pages, by its BCP 47 tag."""

    ENGLISH = "en"
    ARABIC = "ar"
    HINDI = "hi"

    @property
    def own_name(self) -> str:
        return {"en": "English", "ar": "العربية", "hi": "हिन्दी"}[self]

    @property
    def direction(self) -> Literal["ltr", "rtl"]:
        return "rtl" if self is Language.ARABIC else "ltr"


class Wording:
    """How one language says things: `t("card.pay", amount=t.money(100, "SAR"))`."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self.texts = read_texts(language)
        self._locale = Locale.parse(language)

    def __call__(self, key: str, **values: object) -> Markup:
        """The text `key` as markup; a str among `values` is escaped and isolated."""
        isolated = {name: isolate(value) for name, value in values.items()}
        return escape(self.texts[key]).format(**isolated)

    def plain(self, key: str, **values: object) -> str:
        """The text `key` without markup, for titles and labels."""
        isolated = {
            name: value if isinstance(value, int) else f"{_ISOLATE}{value}{_END}"
            for name, value in values.items()
        }
        return self.texts[key].format(**isolated)

    def has(self, key: str) -> bool:
        return key in self.texts

    def amount(self, amount_minor: int, currency: str) -> str:
        """An amount in minor units with its currency's decimals: `SAR 1,143.75`."""
        of = money.currency(currency)
        number: str = _decimals(self._locale, of.exponent).apply(
            money.to_major(amount_minor, of), self._locale, numbering_system="latn"
        )
        symbol = self._symbol(currency)
        is_rtl = self.language.direction == "rtl"
        return f"{number}\u00a0{symbol}" if is_rtl else f"{symbol}\u00a0{number}"

    def money(self, amount_minor: int, currency: str) -> Markup:
        """`amount` as markup, isolated."""
        return Markup("<bdi>{}</bdi>").format(self.amount(amount_minor, currency))

    def day(self, at: datetime) -> Markup:
        """`1 June 2026`, of the day in UTC."""
        return self._time(at, _DAY)

    def moment(self, at: datetime) -> Markup:
        """`1 June 2026, 14:05 UTC`"""
        comma = "،" if self.language is Language.ARABIC else ","
        return self._time(at, _MOMENT.format(comma=comma))

    def _time(self, at: datetime, pattern: str) -> Markup:
        written = format_datetime(at, pattern, locale=self._locale)
        return Markup('<time datetime="{}"><bdi>{}</bdi></time>').format(at.isoformat(), written)

    def _symbol(self, currency: str) -> str:
        """The ISO code, which no other currency shares; in Arabic script where it has a name."""
        if self.language is Language.ARABIC:
            symbol: str = get_currency_symbol(currency, locale=self._locale).strip("\u200f")
            if "\u0600" <= symbol[0] <= "\u06ff":
                return symbol
        return currency


@cache
def wording(language: Language) -> Wording:
    """The wording of a language, read once."""
    return Wording(language)


@cache
def _decimals(locale: Locale, exponent: int) -> NumberPattern:
    """The number format of `locale` with `exponent` decimals, no more and no less."""
    whole = locale.decimal_formats[None].pattern.partition(".")[0]
    return parse_pattern(f"{whole}.{'0' * exponent}" if exponent else whole)


def isolate(value: object) -> object:
    """`value` as markup that keeps its direction to itself; numbers and markup as they are."""
    if isinstance(value, Markup | int):
        return value
    return Markup("<bdi>{}</bdi>").format(value)


def read_texts(language: Language) -> Mapping[str, str]:
    """All texts of a language by `<subject>.<name>`."""
    texts: dict[str, str] = {}
    for path in sorted((_FOLDER / language).glob("*.json")):
        for name, text in msgspec.json.decode(path.read_bytes(), type=dict[str, str]).items():
            texts[f"{path.stem}.{name}"] = text
    return texts


def language_for(accept_language: str) -> Language:
    """The language that a browser likes best among ours; else English."""
    return Language(preferred(accept_language, set(Language)) or Language.ENGLISH)
