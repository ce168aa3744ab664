"""The **languages** of what the partner API says: English, and Arabic on request (E11)."""

from typing import Any

from litestar import Request

from earnest.partner.arabic import NOUNS, PATTERNS, SENTENCES
from earnest.web.languages import preferred


def in_language_of(request: Request[Any, Any, Any], text: str) -> str:
    """`text` in Arabic where the caller prefers it and we know it, else as it is."""
    return arabic(text) if prefers_arabic(request.headers.get("accept-language", "")) else text


def prefers_arabic(accept_language: str) -> bool:
    """Whether Arabic is wanted more than English (RFC 9110 section 12.5.4).

    >>> prefers_arabic("ar-SA,ar;q=0.9,en;q=0.8"), prefers_arabic("en, ar;q=0.5")
    (True, False)
    """
    return preferred(accept_language, ("ar", "en")) == "ar"


def arabic(text: str) -> str:
    """The Arabic for one of our sentences; the sentence itself where there is none."""
    if text in SENTENCES:
        return SENTENCES[text]
    for pattern, translation in PATTERNS:
        if found := pattern.fullmatch(text):
            return translation.format(*map(_named, found.groups()))
    return text


def _named(inside: str) -> str:
    """What stands inside a sentence, with our own words for values in Arabic."""
    for english, arabic_name in NOUNS.items():
        inside = inside.replace(english, arabic_name)
    return inside
