"""The **languages** of what the partner API says: English, and Arabic on request (E11)."""

import re
from typing import Any

from litestar import Request

from earnest.partner.arabic import PATTERNS, SENTENCES


def in_language_of(request: Request[Any, Any, Any], text: str) -> str:
    """`text` in Arabic where the caller prefers it and we know it, else as it is."""
    return arabic(text) if prefers_arabic(request.headers.get("accept-language", "")) else text


def prefers_arabic(accept_language: str) -> bool:
    """Whether Arabic is wanted more than English (RFC 9110 section 12.5.4).

    >>> prefers_arabic("ar-SA,ar;q=0.9,en;q=0.8"), prefers_arabic("en, ar;q=0.5")
    (True, False)
    """
    best = {"ar": 0.0, "en": 0.0}
    for wanted in accept_language[:200].split(","):
        tag, _, parameter = wanted.strip().partition(";")
        language = tag.partition("-")[0].strip().lower()
        quality = re.fullmatch(r"q=([01](?:\.[0-9]{0,3})?)", parameter.strip())
        if language in best and (quality or not parameter):
            best[language] = max(best[language], min(1.0, float(quality[1]) if quality else 1.0))
    return best["ar"] > best["en"]


def arabic(text: str) -> str:
    """The Arabic for one of our sentences; the sentence itself where there is none."""
    if text in SENTENCES:
        return SENTENCES[text]
    for pattern, translation in PATTERNS:
        if found := pattern.fullmatch(text):
            return translation.format(*found.groups())
    return text
