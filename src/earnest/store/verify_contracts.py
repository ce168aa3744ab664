"""The walk over all contracts: hash chains, histories, quotes and postings, one contract at a
time, by the domain's own functions (3, 7, 8, 10, 11, 12, 13, 15, 19), and over the inbox: the
signed bytes against what was booked (13).

Contracts, their events and their transfers are read side by side in key order from cursors on
the server, so a million rows need no memory here; a part of them, for `verify_parts`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import msgspec

from earnest.domain.audit import Event
from earnest.domain.business import Settings
from earnest.domain.chargeback_history import covering
from earnest.domain.contract import Contract
from earnest.domain.history import Finding, check_chain, replay
from earnest.domain.partner_history import settled_parts
from earnest.domain.projection import (
    escrow_status,
    marketplace_status,
    partner_status,
    release_fund_status,
)
from earnest.errors import EarnestError
from earnest.ids import PublicId
from earnest.ledger.settled import check_money
from earnest.store.books import Moved
from earnest.store.invariant import Violation
from earnest.store.rows import contract_from

BATCH = 500

PREDICATES = {
    3: "what was funded is what was released, refunded, kept as fee or tax, or is still held",
    6: "an account has a known kind and currency",
    7: "a split follows the cancellation policy, and its parts sum to the charge",
    8: "what is posted is what was quoted, and the quote follows the fee plan",
    10: "every step of a contract is one of the table, and the last one led to what it is",
    11: "money is released or refunded by somebody who may, at a time when it may",
    12: "a tranche is funded once",
    13: "what came in is what was asked for",
    15: "what left a tranche left it by one release or refund",
    19: "the chain of a contract's events is whole, from the terms to the stored head",
}

CONTRACTS = """
SELECT c AS contract, t.terms
FROM contract AS c
LEFT JOIN contract_terms AS t ON t.contract_id = c.id AND t.contract_id BETWEEN $1 AND $2
WHERE c.id BETWEEN $1 AND $2
ORDER BY c.id
"""

EVENTS = """
SELECT e.contract_id, e.id, e.commit_id, e.subject, e.type, e.actor, e.recorded_at, e.body,
    e.seq, e.hash
FROM event AS e
WHERE e.contract_id BETWEEN $1 AND $2
ORDER BY e.contract_id, e.seq
"""

# Account kind 1 is held money; the contract is in the low 40 bits.
HELD_TRANSFERS = """
SELECT o.contract_id, o.id, o.movement, o.debit, o.credit, o.amount_minor, o.recorded_at
FROM (
    SELECT t.debit & ((1::bigint << 40) - 1) AS contract_id, t.id, t.movement, t.debit, t.credit,
        t.amount_minor, t.recorded_at
    FROM transfer AS t
    WHERE t.debit >> 57 = 1 AND t.debit & ((1::bigint << 40) - 1) BETWEEN $1 AND $2
    UNION ALL
    SELECT t.credit & ((1::bigint << 40) - 1), t.id, t.movement, t.debit, t.credit,
        t.amount_minor, t.recorded_at
    FROM transfer AS t
    WHERE t.credit >> 57 = 1 AND t.credit & ((1::bigint << 40) - 1) BETWEEN $1 AND $2
) AS o
ORDER BY o.contract_id, o.id
"""

HELD_BALANCES = """
SELECT o.contract_id, o.amount_minor
FROM (
    SELECT b.account & ((1::bigint << 40) - 1) AS contract_id, b.amount_minor
    FROM balance AS b
    WHERE b.account >> 57 = 1 AND b.account & ((1::bigint << 40) - 1) BETWEEN $1 AND $2
) AS o
ORDER BY o.contract_id
"""

SETTINGS_AS_PRICED = "SELECT b.id, b.settings FROM business AS b WHERE b.version = 1"

Advance = Callable[[int], None]


class Keys(msgspec.Struct, frozen=True):
    """The keys of contracts from `first` to `last`, both included."""

    first: int
    last: int


ALL_KEYS = Keys(-(1 << 63), (1 << 63) - 1)


class _Beside:
    """Rows in order of their first column, handed out key by key as the walk comes along."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._rows: list[asyncpg.Record] = []
        self._at = 0

    async def skip_to(self, key: int) -> list[asyncpg.Record]:
        """The rows below `key`, which belong to nobody."""
        return await self._take(lambda found: found < key)

    async def of(self, key: int) -> list[asyncpg.Record]:
        """The rows of `key`."""
        return await self._take(lambda found: found == key)

    async def rest(self) -> list[asyncpg.Record]:
        return await self._take(lambda _: True)

    async def _take(self, fits: Callable[[int], bool]) -> list[asyncpg.Record]:
        taken: list[asyncpg.Record] = []
        while True:
            if self._at == len(self._rows):
                self._rows, self._at = await self._cursor.fetch(BATCH * 4), 0
                if not self._rows:
                    return taken
            if not fits(self._rows[self._at][0]):
                return taken
            taken.append(self._rows[self._at])
            self._at += 1


async def walk_contracts(
    conn: asyncpg.Connection, advance: Advance, keys: Keys = ALL_KEYS
) -> list[Violation]:
    """The first violation of each invariant that one contract's rows can show.

    `advance` hears how many contracts were walked since last time. Needs a transaction.
    """
    found: dict[int, Violation] = {}
    decoder = msgspec.json.Decoder(Settings)
    plans = {
        row["id"]: decoder.decode(row["settings"]) for row in await conn.fetch(SETTINGS_AS_PRICED)
    }
    within = (keys.first, keys.last)
    contracts = await conn.cursor(CONTRACTS, *within)
    events = _Beside(await conn.cursor(EVENTS, *within))
    transfers = _Beside(await conn.cursor(HELD_TRANSFERS, *within))
    balances = _Beside(await conn.cursor(HELD_BALANCES, *within))
    while rows := await contracts.fetch(BATCH):
        for row in rows:
            key: int = row[0][0]
            _note_orphans(found, await events.skip_to(key))
            await transfers.skip_to(key)
            await balances.skip_to(key)
            findings = _findings(
                row,
                plans,
                await events.of(key),
                await transfers.of(key),
                sum(balance[1] for balance in await balances.of(key)),
            )
            for finding in findings:
                _note(found, key, PublicId(row[0][1]), finding)
        advance(len(rows))
    _note_orphans(found, await events.rest())
    return list(found.values())


def _findings(
    row: asyncpg.Record,
    plans: dict[int, Settings],
    event_rows: list[asyncpg.Record],
    transfer_rows: list[asyncpg.Record],
    held_minor: int,
) -> Iterator[Finding]:
    if row[1] is None:
        yield Finding(19, None, "terms", "none")
        return
    try:
        contract = contract_from(row[0], row[1])
        _project(contract)
    except (ValueError, KeyError, msgspec.DecodeError) as error:
        yield Finding(10, None, "a contract that can be read", f"{type(error).__name__}: {error}")
        return
    events = [_event(event_row) for event_row in event_rows]
    transfers = [Moved(*row[1:]) for row in transfer_rows]
    yield from filter(None, (check_chain(contract, events), replay(contract, events)))
    try:
        parts = settled_parts(events) if contract.is_partners else None
        plan = plans.get(contract.business)
        covers = covering(events)
        yield from check_money(contract, plan, transfers, held_minor, parts, covers)
    except msgspec.DecodeError as error:
        yield Finding(19, None, "events that can be read", f"{error}")
    except (ValueError, KeyError) as error:
        yield Finding(6, None, "accounts that can be named", f"{type(error).__name__}: {error}")
    except EarnestError as error:
        yield Finding(8, None, "an amount that can be priced", error.message)


def _event(row: asyncpg.Record) -> Event:
    contract, key, commit_id, subject, type_, actor, recorded_at, body, seq, digest = row
    return Event(key, commit_id, subject, type_, actor, recorded_at, body, contract, seq, digest)


def _project(contract: Contract) -> None:
    """Both public vocabularies have a word for this contract, or a ValueError says not."""
    words = (
        marketplace_status(contract),
        release_fund_status(contract),
        escrow_status(contract),
        partner_status(contract),
    )
    if not all(words):
        raise ValueError(f"no public status: {words}")


def _note(
    found: dict[int, Violation], key: int, public_id: PublicId | None, finding: Finding
) -> None:
    if finding.invariant in found:
        return
    of_event = finding.event is not None
    found[finding.invariant] = Violation(
        finding.invariant,
        PREDICATES[finding.invariant],
        "event" if of_event else "contract",
        str(finding.event if of_event else key),
        public_id,
        finding.expected,
        finding.found,
    )


def _note_orphans(found: dict[int, Violation], rows: list[asyncpg.Record]) -> None:
    for row in rows:
        _note(found, row[0], None, Finding(19, row[1], "an event of a contract", f"of {row[0]}"))


# -- the inbox ----------------------------------------------------------------------------------

MONEY_EVENTS = """
SELECT e.provider, e.event_id, e.payload, t.amount_minor, account_currency(t.debit) AS currency,
    v.livemode
FROM provider_event AS e
INNER JOIN (
    SELECT d.commit_id, d.debit, sum(d.amount_minor)::bigint AS amount_minor
    FROM transfer AS d
    WHERE d.debit >> 57 = 3
    GROUP BY d.commit_id, d.debit
) AS t ON t.commit_id = e.commit_id
INNER JOIN provider_account AS v ON v.id = t.debit & ((1::bigint << 40) - 1)
WHERE e.took_money
ORDER BY e.provider, e.event_id
"""


class _Object(msgspec.Struct):
    amount_total: int
    currency: str


class _Data(msgspec.Struct):
    object: _Object


class _Signed(msgspec.Struct):
    """What a provider's event says of money, as it was signed."""

    data: _Data
    livemode: bool


MinorOf = Callable[[str, int, str], int]
"""Minor units of an amount as a provider's events tell it: provider, amount, currency. Raises
ValueError for what has none."""


async def walk_inbox(
    conn: asyncpg.Connection, codes: dict[int, str], advance: Advance, minor_of: MinorOf
) -> list[Violation]:
    """The first event whose signed bytes do not say what was booked. `codes` by ISO number."""
    decoder = msgspec.json.Decoder(_Signed)
    cursor = await conn.cursor(MONEY_EVENTS)
    violations: list[Violation] = []
    while rows := await cursor.fetch(BATCH):
        for row in rows:
            booked = (row["amount_minor"], codes.get(row["currency"], "?"), row["livemode"])
            try:
                said = decoder.decode(row["payload"])
                currency = said.data.object.currency.upper()
                amount_minor = minor_of(row["provider"], said.data.object.amount_total, currency)
                signed: object = (amount_minor, currency, said.livemode)
            except (msgspec.MsgspecError, ValueError) as error:
                signed = str(error)
            if signed != booked and not violations:
                violations.append(
                    Violation(
                        13,
                        "what is booked is what the provider signed: amount, currency, livemode",
                        "provider_event",
                        f"{row['provider']} {row['event_id']}",
                        None,
                        str(signed),
                        str(booked),
                    )
                )
        advance(len(rows))
    return violations
