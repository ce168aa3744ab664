"""What partners send: structs whose names bind whatever their case, and how their texts are read.

Canonical names are those of the guide's samples. Every reader raises InvalidField naming the field
by its path in the body; `earnest.partner.binding.as_written` spells it as the caller did.
"""

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated

import msgspec

from earnest.actions.brokerage import Person
from earnest.domain.identity import bic, birthday, iban, national_id, person_name, phone_number
from earnest.domain.money import CURRENCIES, Currency, parse_major
from earnest.domain.partner import Stage
from earnest.errors import InvalidField
from earnest.store.kyc import Known
from earnest.web.shapes import Line, Text, tidy

REASON_CHARACTERS_MAX = 500
_NUMBER = re.compile(r"CNT-[0-9]{4}-[0-9]{8}")
_REF = re.compile(r"USR_[A-Za-z0-9_]{1,60}")
_DUE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,7}))?Z")

Amount = Annotated[
    int | Decimal,
    msgspec.Meta(
        description="A JSON number in major units, with no more decimals than its currency has."
    ),
]


class InvalidContractId(InvalidField):
    """Invalid contract ID"""


def contract_number(text: str, field: str = "contractId") -> str:
    """A contract's number in its one spelling. Raises InvalidContractId."""
    if not _NUMBER.fullmatch(text):
        raise InvalidContractId(field, "must be CNT-YYMM- and 8 digits")
    return text


# -- people ---------------------------------------------------------------------------------------


class Party(msgspec.Struct, rename="camel"):
    """A buyer or a seller. Without a `platformRefId` the other three are required; with one, the
    stored names win (E23)."""

    platform_ref_id: Line | None = None
    phone_number: Line | None = None
    first_name: Line | None = None
    last_name: Line | None = None


class KycSent(msgspec.Struct, rename="camel"):
    """What a partner knows of who its seller is; it fills in the seller's onboarding, no more."""

    identity: Line | None = None
    iban_number: Line | None = msgspec.field(name="iBANNumber", default=None)
    bic_code: Line | None = msgspec.field(name="bICCode", default=None)
    date_of_birth: Line | None = None


class Seller(Party, rename="camel"):
    """A seller, and what is known of who that is (B10)."""

    kyc: KycSent | None = msgspec.field(name="KYC", default=None)


def known_of(sent: KycSent | None, field: str, today: date) -> Known:
    """What a partner says of who somebody is."""
    if sent is None:
        return Known()
    iban_text, bic_text, born = sent.iban_number, sent.bic_code, sent.date_of_birth
    return Known(
        national_id=national_id(sent.identity, f"{field}.identity") if sent.identity else "",
        iban=iban(iban_text, f"{field}.iBANNumber") if iban_text else "",
        bic=bic(bic_text, f"{field}.bICCode") if bic_text else "",
        born=birthday(born, f"{field}.dateOfBirth", today) if born else None,
    )


def platform_ref(text: str, field: str) -> str:
    """The reference of somebody, in its one spelling."""
    if not _REF.fullmatch(text):
        raise InvalidField(field, "must be USR_ and letters, digits or _")
    return text


def person(sent: Party, field: str) -> Person:
    """Who is meant by `sent`, which the body calls `field`."""
    ref = sent.platform_ref_id
    if ref is not None:
        return Person(field, platform_ref(ref, f"{field}.platformRefId"), None, "", "")
    for name, value in (
        ("phoneNumber", sent.phone_number),
        ("firstName", sent.first_name),
        ("lastName", sent.last_name),
    ):
        if value is None:
            raise InvalidField(f"{field}.{name}", "is required without a platformRefId")
    assert sent.phone_number is not None
    assert sent.first_name is not None
    assert sent.last_name is not None
    phone = phone_number(sent.phone_number, f"{field}.phoneNumber")
    first_name = person_name(sent.first_name, f"{field}.firstName")
    last_name = person_name(sent.last_name, f"{field}.lastName", required=False)
    return Person(field, None, phone, first_name, last_name)


# -- texts ----------------------------------------------------------------------------------------


def line(text: str | None, field: str, characters_max: int, *, empty: bool = False) -> str:
    """`text` as it is stored: NFC, no blanks around it."""
    made = tidy(text or "", field)
    if not made and not empty:
        raise InvalidField(field, "must not be empty")
    if len(made) > characters_max:
        raise InvalidField(field, f"must be at most {characters_max} characters long")
    return made


def optional(text: str | None, field: str, characters_max: int) -> str | None:
    """The same for a text that may be missing; null stays null."""
    return None if text is None else line(text, field, characters_max, empty=True)


def reason(text: str | None, *, required: bool = False) -> str:
    """Why something is done, in the words of whoever does it."""
    if text is None and required:
        raise InvalidField("reason", "is required")
    return line(text, "reason", REASON_CHARACTERS_MAX, empty=not required)


class MetaDataSent(msgspec.Struct, rename="lower"):
    """Four texts of the partner's own; null is as good as none."""

    metadata1: Text | None = None
    metadata2: Text | None = None
    metadata3: Text | None = None
    metadata4: Text | None = None


# -- milestones -----------------------------------------------------------------------------------


class MilestoneSent(msgspec.Struct, rename="pascal"):
    """One of several parts of a contract. `DueDate` is ISO 8601 in UTC, with `Z`."""

    name: Line
    amount: Amount
    due_date: Line
    description: Text | None = None


def stage(sent: MilestoneSent, index: int, of: Currency, amount_minor_max: int) -> Stage:
    """The milestone as it is asked for."""
    where = f"Milestones[{index}]"
    return Stage(
        name=line(sent.name, f"{where}.Name", 200),
        description=line(sent.description, f"{where}.Description", 2_000, empty=True),
        amount_minor=parse_major(sent.amount, of, f"{where}.Amount", amount_minor_max),
        due_date=sent.due_date,
        due_at=_due_at(sent.due_date, f"{where}.DueDate"),
    )


def _due_at(text: str, field: str) -> datetime:
    found = _DUE.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        return datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    except ValueError:
        expected = "must be an ISO 8601 instant in UTC such as 2026-06-01T00:00:00.000Z"
        raise InvalidField(field, expected) from None


def milestone_id(sent: int | str | None, field: str = "milestoneId") -> int | None:
    """The guide shows integers, one of its tables strings: both are taken."""
    if sent is None or sent == "":
        return None
    text = str(sent)
    if isinstance(sent, bool) or not re.fullmatch(r"[0-9]{1,18}", text):
        raise InvalidField(field, "must be a whole number")
    return int(text)


def amount_in(sent: int | Decimal, currency: str, field: str, minor_max: int) -> int:
    """An amount in minor units of `currency`."""
    return parse_major(sent, CURRENCIES[currency], field, minor_max)
