"""Identifiers: bigint keys inside, public ids where the public sees them.

A **key** is a bigint from a database sequence: objects (parties, jobs, contracts,
payments) draw from `object_key`, journal entries (events, transfers) from `entry_key`.
A **public id** is 24 lower-case hex digits that carry the key, so that finding a row by
its public id needs no index besides the primary key:

    68c1a2b3  00000004d2  9f3a71
    seconds   key         salt       (4 + 5 + 3 bytes)

They sort by time. The salt is random, so that knowing one id does not yield the next;
a lookup must always compare the whole id: `WHERE id = key AND public_id = given`.
"""

import re
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NewType

from earnest.errors import InvalidField

PublicId = NewType("PublicId", str)

OBJECT_KEY_MAX = (1 << 40) - 1
_PUBLIC_ID = re.compile(r"[0-9a-fA-F]{24}")


def public_id(key: int, at: datetime, salt: int) -> PublicId:
    """The public id of object `key`, created `at`, with a 24-bit random `salt`.

    >>> from datetime import UTC
    >>> public_id(1234, datetime(2026, 5, 1, 9, tzinfo=UTC), 0xABCDEF)
    '69f46b9000000004d2abcdef'
    """
    if not 0 < key <= OBJECT_KEY_MAX:
        raise ValueError(f"object key out of range: {key}")
    return PublicId(f"{int(at.timestamp()):08x}{key:010x}{salt & 0xFFFFFF:06x}")


def parse_public_id(text: str, field: str) -> PublicId:
    """`text` as a public id in its one spelling; InvalidField naming `field` otherwise."""
    if not _PUBLIC_ID.fullmatch(text):
        raise InvalidField(field, "must be 24 hexadecimal digits")
    return PublicId(text.lower())


def key_of(given: PublicId) -> int:
    """The key inside a public id. Whether such a row exists is for the database to say."""
    return int(given[8:18], 16)


def sub_id(parent: PublicId, index: int) -> PublicId:
    """A stable id for a part of `parent` that has no row of its own; it carries parent's key.

    >>> sub_id(PublicId("69f46b9000000004d2abcdef"), 3)
    '69f46b9000000004d2000003'
    """
    return PublicId(f"{parent[:18]}{index & 0xFFFFFF:06x}")


def entry_id(key: int, at: datetime) -> PublicId:
    """The public id of a ledger entry: its seconds, then its key in 16 digits."""
    return PublicId(f"{int(at.timestamp()):08x}{key:016x}")


def marketplace_number(sequence: int) -> str:
    """The `sequence`-th marketplace contract's number: `CON` and 8 digits, the first not 0.

    A bijection on 1..90,000,000 that hides how many contracts there are.

    >>> marketplace_number(1), marketplace_number(2)
    ('CON47139213', 'CON84278426')
    """
    if not 0 < sequence <= 90_000_000:
        raise ValueError(f"marketplace contract numbers are used up: {sequence}")
    return f"CON{10_000_000 + sequence * 37_139_213 % 90_000_000}"


def partner_number(sequence: int, at: datetime) -> str:
    """The `sequence`-th number of partners' contracts, made `at`: `CNT-YYMM-` and 8 digits.

    A bijection on 1..99,900,000 that hides from each partner how much the others do.

    >>> from datetime import UTC
    >>> partner_number(1, datetime(2026, 5, 1, tzinfo=UTC))
    'CNT-2605-41327717'
    """
    if not 0 < sequence <= 99_900_000:
        raise ValueError(f"no such partner contract: {sequence}")
    return f"CNT-{at:%y%m}-{100_000 + sequence * 41_227_717 % 99_900_000:08d}"


# How a UUID ends, by its part: what precedes is the id's alone. No id has more parts.
_LAST_DIGITS = [f"{part:06x}" for part in range(4096)]


def uuid_of(of: PublicId) -> str:
    """`of` as a UUID (RFC 9562, version 8).

    >>> uuid_of(PublicId("69f46b9000000004d2abcdef"))
    '69f46b90-0000-8000-934a-af37bc000000'
    """
    return uuids_of(of, (0,))[0]


def uuids_of(of: PublicId, parts: Sequence[int]) -> list[str]:
    """UUIDs for `parts` of it that have no ids of their own; part 0 is itself.

    >>> uuids_of(PublicId("69f46b9000000004d2abcdef"), (1, 3))
    ['69f46b90-0000-8000-934a-af37bc000001', '69f46b90-0000-8000-934a-af37bc000003']
    """
    rest = int(of[15:], 16)  # 14 bits, and 22
    head = f"{of[:8]}-{of[8:12]}-8{of[12:15]}-{0x8000 | rest >> 22:04x}-"
    head += f"{(rest & 0x3FFFFF) << 2:06x}"
    return [head + _LAST_DIGITS[part] for part in parts]


def new_platform_ref(key: int, at: datetime) -> str:
    """The reference of a partner's new member with this object `key`, made `at` (spec 1.2).

    Not unique in itself: two of one second may share their last digits. The database refuses the
    second one, which then takes another key.

    >>> from datetime import UTC
    >>> new_platform_ref(71234, datetime(2026, 5, 1, 9, tzinfo=UTC))
    'USR_20260501090000_1234'
    """
    return f"USR_{at.astimezone(UTC):%Y%m%d%H%M%S}_{key % 10_000:04d}"


class Ids:
    """Fresh identifiers for one decision, drawn from blocks that this process reserved.

    Gaps happen (a decision that is thrown away keeps what it drew), reuse never does.
    """

    __slots__ = ("_entry", "_number", "_object", "_partner_number", "_salt")

    def __init__(
        self,
        next_object: Callable[[], int],
        next_entry: Callable[[], int],
        next_number: Callable[[], int],
        next_partner_number: Callable[[], int],
        salt: Callable[[], int] = lambda: secrets.randbits(24),
    ) -> None:
        self._object = next_object
        self._entry = next_entry
        self._number = next_number
        self._partner_number = next_partner_number
        self._salt = salt

    def new_object(self, at: datetime) -> tuple[int, PublicId]:
        """A fresh object key and its public id."""
        key = self._object()
        return key, public_id(key, at, self._salt())

    def new_entry(self) -> int:
        """A fresh key for an event or a transfer."""
        return self._entry()

    def new_contract_number(self) -> str:
        """A fresh marketplace contract number."""
        return marketplace_number(self._number())

    def new_partner_number(self, at: datetime) -> str:
        """A fresh number for a partner's contract."""
        return partner_number(self._partner_number(), at)
