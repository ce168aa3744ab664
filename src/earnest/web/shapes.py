"""What every face writes and reads in the same way: texts, instants, money, pages of lists.

Times are ISO 8601 with milliseconds and `Z`; money is a JSON number in major units; texts are one
line (`Line`) or several (`Text`).
"""

import re
import unicodedata
from decimal import Decimal
from itertools import groupby
from typing import Annotated

import msgspec

from earnest.errors import InvalidField, MalformedBody
from earnest.web.guard import clean_text

PAGE_ENTRIES_MAX = 100
PAGE_MAX = 100_000
MARKS_IN_A_ROW_MAX = 30


def one_of(*values: str) -> msgspec.Meta:
    """For the description of a text in answers: it is one of these."""
    return msgspec.Meta(extra_json_schema={"enum": list(values)})


Major = Annotated[int | Decimal, msgspec.Meta(description="Major units of the currency.")]
Instant = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z\Z",
        extra_json_schema={"format": "date-time"},
    ),
]

# What is sent.
Line = Annotated[str, msgspec.Meta(pattern=r"\A[^\t\n\r\u2028\u2029]*\Z", max_length=200)]
Text = Annotated[str, msgspec.Meta(max_length=20_000)]


# Unicode's Default_Ignorable_Code_Point, blanks, and Braille's pattern without dots.
_SEEN = re.compile(
    "[^\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff]"
)


def tidy(text: str, field: str = "") -> str:
    """Text as it is stored: Unicode NFC, without blanks around it; "" if nothing could be seen.

    Raises MalformedBody, or InvalidField naming `field`, for a pile of combining marks as no
    language has it (30 are the limit of Stream-Safe Text, Unicode Annex 15): to put 20,000 into
    their order takes seconds.
    """
    if text.isascii():
        return text.strip()
    for is_mark, run in groupby(text, _is_mark):
        if is_mark and sum(1 for _ in run) > MARKS_IN_A_ROW_MAX:
            if field:
                raise InvalidField(field, f"must not pile up more than {MARKS_IN_A_ROW_MAX} marks")
            raise MalformedBody(
                f"A text has more than {MARKS_IN_A_ROW_MAX} combining marks in a row."
            )
    return unicodedata.normalize("NFC", text).strip() if _SEEN.search(text) else ""


def _is_mark(character: str) -> bool:
    return unicodedata.combining(character) != 0


def given(text: str | None) -> str | None:
    """A query parameter, where empty and the literal `undefined` of old clients mean absent."""
    return None if text in (None, "", "undefined", "null") else text


def page_number(text: str | None, field: str, default: int, most: int) -> int:
    """A query parameter that counts from 1; a little more than `most` is taken as `most`.

    Raises InvalidField for anything but up to six ASCII digits.
    """
    text = given(text)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) > 0):
        raise InvalidField(field, "must be a whole number from 1 to 999999")
    return min(int(text), most)


def search_text(text: str | None) -> str:
    """What to look for, literally; "" for everything. Raises InvalidField."""
    return unicodedata.normalize("NFC", clean_text(given(text) or "", "search"))


def choice(text: str | None, field: str, allowed: tuple[str, ...], default: str) -> str:
    """A query parameter that is one of `allowed`. Raises InvalidField."""
    text = given(text)
    if text is None:
        return default
    if text not in allowed:
        raise InvalidField(field, f"must be one of {', '.join(allowed)}")
    return text
