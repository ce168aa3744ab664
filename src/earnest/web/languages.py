"""Which of our **languages** a caller likes best: its Accept-Language (RFC 9110, 12.5.4)."""

from collections.abc import Collection

ACCEPTED_CHARACTERS_MAX = 200


def preferred(accept_language: str, offered: Collection[str]) -> str | None:
    """The one of `offered` (primary tags such as `ar`) that is wanted most; the first among equals,
    None where none is wanted.

    >>> preferred("fr, hi-IN;q=0.8, en;q=0.7", ("en", "hi")), preferred("de", ("en", "hi"))
    ('hi', None)
    """
    best, best_quality = None, 0.0
    for wanted in accept_language[:ACCEPTED_CHARACTERS_MAX].split(","):
        tag, _, parameter = wanted.partition(";")
        primary = tag.strip().partition("-")[0].lower()
        quality = _quality(parameter)
        if primary in offered and quality > best_quality:
            best, best_quality = primary, quality
    return best


def _quality(parameter: str) -> float:
    name, _, value = parameter.replace(" ", "").partition("=")
    if not name:
        return 1.0
    try:
        quality = float(value) if name == "q" and value.isascii() else 0.0
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
