"""**Identity**: what tells a person and their bank account apart, as texts in one spelling.

A phone number, a national id, a name, a day of birth, an IBAN (ISO 13616) and a BIC (ISO 9362).
Invariant: what a function here returns is the one spelling of it that is stored and compared; a
message names the field and what was expected, and never repeats what was sent.
"""

import re
import unicodedata
from datetime import date, timedelta
from itertools import groupby

from earnest.errors import InvalidField

NAME_CHARACTERS_MAX = 100
MARKS_IN_A_ROW_MAX = 30
YEARS_OLD_MAX = 150

_PHONE = re.compile(r"[1-9][0-9]{7,14}")
_NATIONAL_ID = re.compile(r"[12][0-9]{9}")
_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T[0-9:.]{5,18}(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_BIC = re.compile(r"[A-Z0-9]{4}([A-Z]{2})[A-Z0-9]{2}(?:[A-Z0-9]{3})?")
# Controls, bidirectional marks and overrides, lone surrogates, and what has no width of its own
# but for the joiners (U+200C and U+200D), which Persian, Urdu and Hindi need, and the variation
# selectors of Chinese characters in Japanese names.
_NOT_IN_NAMES = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u2800\u3164\ufdd0-\ufdef\ufeff\uffa0\ufff0-\uffff\ud800-\udfff"
    "\U000e0000-\U000e00ff]"
)

# How many characters the IBANs of a country have: the registry of ISO 13616.
_IBAN_LENGTHS = """
AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BI:27 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24
DE:22 DJ:27 DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FK:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27
GT:28 HN:28 HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20
LU:20 LV:21 LY:25 MC:27 MD:24 ME:22 MK:19 MN:20 MR:27 MT:31 MU:30 NI:28 NL:18 NO:15 OM:23 PK:24
PL:28 PS:29 PT:25 QA:29 RO:24 RS:22 RU:33 SA:24 SC:31 SD:18 SE:24 SI:19 SK:24 SM:27 SO:23 ST:25
SV:28 TL:23 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20 YE:30
"""
IBAN_LENGTHS: dict[str, int] = {
    country: int(length) for country, length in (pair.split(":") for pair in _IBAN_LENGTHS.split())
}

# Where a bank may be: ISO 3166-1, and Kosovo, whose XK banks use.
COUNTRIES = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS
    BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE
    EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM
    HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC
    LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA
    NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
    SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO
    TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW
    """.split()
)


def phone_number(text: str, field: str) -> str:
    """A phone number: country code and number, 8 to 15 digits and nothing else (spec 1.2, E.164).

    `+` and blanks are refused instead of dropped: two spellings would be two people to whoever
    compares them. Raises InvalidField naming `field`.
    """
    if not _PHONE.fullmatch(text):
        raise InvalidField(
            field, "must be 8 to 15 digits, beginning with the country code, without + or spaces"
        )
    return text


def national_id(text: str, field: str) -> str:
    """A Saudi national id: 10 digits, 1 first for citizens and 2 for residents (spec 1.2).

    No check digit is asked for: the spec knows of none. Raises InvalidField naming `field`.
    """
    if not _NATIONAL_ID.fullmatch(text):
        raise InvalidField(field, "must be 10 digits, the first of them 1 or 2")
    return text


def person_name(text: str, field: str, *, required: bool = True) -> str:
    """A first or a last name: at most 100 characters on one line, Unicode NFC, single blanks.

    Raises InvalidField naming `field`.
    """
    if len(text) > NAME_CHARACTERS_MAX:
        raise InvalidField(field, f"must be at most {NAME_CHARACTERS_MAX} characters long")
    if _NOT_IN_NAMES.search(text):
        raise InvalidField(field, "must not contain control or invisible characters")
    for is_mark, run in groupby(text, lambda character: unicodedata.combining(character) != 0):
        if is_mark and sum(1 for _ in run) > MARKS_IN_A_ROW_MAX:
            raise InvalidField(field, f"must not pile up more than {MARKS_IN_A_ROW_MAX} marks")
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not any(character.isalnum() for character in name) and (required or name):
        raise InvalidField(field, "must contain a letter" if name else "is required")
    return name


def birthday(text: str, field: str, today: date) -> date:
    """A day of birth, `YYYY-MM-DD` alone or with which an instant begins: a past day, no more
    than 150 years ago. Raises InvalidField naming `field`."""
    written = _DAY.fullmatch(text)
    try:
        born = date.fromisoformat(written[1]) if written else None
    except ValueError:
        born = None
    if born is None:
        raise InvalidField(field, "must be a day, YYYY-MM-DD")
    if not today - timedelta(days=366 * YEARS_OLD_MAX) < born < today:
        raise InvalidField(field, "must be a day in the past")
    return born


def iban(text: str, field: str) -> str:
    """An IBAN without blanks, in upper case: of a country that has them, as long as there, with
    the right check digits (ISO 13616, ISO/IEC 7064 MOD 97-10). Raises InvalidField.

    >>> iban("SA03 8000 0000 6080 1016 7519", "iBAN")
    'SA0380000000608010167519'
    """
    plain = text.replace(" ", "").upper() if text.isascii() else ""
    length = IBAN_LENGTHS.get(plain[:2])
    if not _IBAN.fullmatch(plain) or length is None:
        raise InvalidField(field, "must be an IBAN, such as SA and 22 digits")
    if len(plain) != length or (plain.startswith("SA") and not plain[2:].isdigit()):
        what = "digits" if plain.startswith("SA") else "letters and digits"
        raise InvalidField(field, f"must be {plain[:2]} and {length - 2} {what}")
    if int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 != 1:
        raise InvalidField(field, "is mistyped: its check digits do not fit")
    return plain


def bic(text: str, field: str) -> str:
    """A BIC of 8 or 11 characters in upper case, of a country that exists (ISO 9362).

    Raises InvalidField naming `field`.
    """
    plain = text.strip().upper() if text.isascii() else ""
    found = _BIC.fullmatch(plain)
    if found is None or found[1] not in COUNTRIES:
        raise InvalidField(field, "must be a BIC of 8 or 11 characters, such as RJHISARI")
    return plain


def masked(text: str, shown_first: int, shown_last: int) -> str:
    """`text` in groups of four, with nothing to read in it but its ends.

    >>> masked("SA0380000000608010167519", 2, 4)
    'SA** **** **** **** **** 7519'
    """
    last = len(text) - shown_last
    dotted = "".join(one if at < shown_first or at >= last else "*" for at, one in enumerate(text))
    return " ".join(dotted[at : at + 4] for at in range(0, len(dotted), 4))
