"""`earnest verify`: every invariant of the books, checked on a live database.

All checks see one snapshot (REPEATABLE READ, READ ONLY), so they work while `serve` runs and
never find half a commit. Each **invariant** has its number from the specification; what cannot
be checked yet is listed with the reason, for a check that is silently missing proves nothing.
"""

import asyncio
from collections.abc import Callable, Collection

import asyncpg
import msgspec

from earnest.anchors import Anchors
from earnest.domain.money import CURRENCIES, CURRENCY_BY_NUMERIC
from earnest.store import (
    verify_accounts,
    verify_chargebacks,
    verify_ledger,
    verify_lines,
    verify_partners,
    verify_payments,
    verify_payouts,
    verify_refunds,
    verify_rows,
    verify_told,
    verify_webhooks,
)
from earnest.store.db import CONNECT_SECONDS_MAX, DatabaseRefused
from earnest.store.invariant import Check, Violation
from earnest.store.migrate import pending_migrations
from earnest.store.verify_anchors import Outcome, check_anchors
from earnest.store.verify_contracts import PREDICATES, MinorOf, walk_contracts, walk_inbox
from earnest.store.verify_partners import walk_businesses
from earnest.store.verify_parts import divide, walk_parts

CHECKS: tuple[Check, ...] = (
    *verify_ledger.CHECKS,
    *verify_payments.CHECKS,
    *verify_payouts.CHECKS,
    *verify_chargebacks.CHECKS,
    *verify_refunds.CHECKS,
    *verify_told.CHECKS,
    *verify_lines.CHECKS,
    *verify_partners.CHECKS,
    *verify_rows.CHECKS,
    *verify_accounts.CHECKS,
    *verify_webhooks.CHECKS,
)
WALKED = frozenset(PREDICATES)
WALK_WEIGHT = 100
"""The walk takes about as long for a contract as a statement for so many rows."""

NOT_CHECKED = {
    "5": "provider accounts: earnest reconcile compares them with the provider's books",
    "8": "the rates of taxes: the fee plan is compared for businesses whose settings never changed",
    "11": "approval policies of two persons: no business has one yet; who had to approve a refund "
    "is compared with the policies of businesses whose settings never changed",
    "20": "anchors outside the database: none were given",
    "22": "timers: nothing is scheduled in the database yet",
    "24": "provider cash against the provider's balance: earnest reconcile compares them",
}

TITLES = {
    1: "transfers are sound",
    2: "balances and rollups are the sums of their transfers",
    3: "each contract's money is all accounted for",
    4: "money is held exactly where a contract says so",
    5: "no held account and no wallet is below zero",
    6: "every account has one currency and an owner",
    7: "splits follow the cancellation policy",
    8: "postings are what was quoted",
    9: "no more left than came in",
    10: "every history is one that the rules allow",
    11: "releases and refunds were granted by who may",
    12: "every payment funds once",
    13: "what came in is what was asked for and signed",
    14: "every provider call has its intent and its outcome",
    15: "every tranche is settled once",
    16: "every idempotency key is one request",
    17: "every commit of money tells of it",
    18: "every webhook was attempted as published",
    19: "every chain of events is whole",
    20: "the database has what its anchors say",
    21: "nobody can rewrite the books",
    23: "every row is within its business",
    24: "the trial balance is zero",
    25: "ids and numbers are unique",
    26: "accounts are one person's, admins and clients on record",
}

# The sub-selects run in one statement over the one snapshot.
COUNTS = """
SELECT
    (SELECT count(*) FROM transfer) AS transfer,
    (SELECT count(*) FROM balance) AS balance,
    (SELECT count(*) FROM rollup) AS rollup,
    (SELECT count(*) FROM contract) AS contract,
    (SELECT count(*) FROM payment) AS payment,
    (SELECT count(*) FROM refund) AS refund,
    (SELECT count(*) FROM booked_line) AS booked_line,
    (SELECT count(*) FROM reconciliation) AS reconciliation,
    (SELECT count(*) FROM payout) AS payout,
    (SELECT count(*) FROM chargeback) AS chargeback,
    (SELECT count(*) FROM event) AS event,
    (SELECT count(*) FROM provider_event) AS provider_event,
    (SELECT count(*) FROM idempotency_key) AS idempotency_key,
    (SELECT count(*) FROM delivery) AS delivery,
    (SELECT count(*) FROM delivery_attempt) AS delivery_attempt,
    (SELECT count(*) FROM job) AS job,
    (SELECT count(*) FROM application) AS application,
    (SELECT count(*) FROM login) AS login,
    (SELECT count(*) FROM party) AS party
"""

# Every check reads whole tables. Without statistics (a restored dump, a first busy hour) the
# planner would take them for small and loop: measured, 90 s instead of 0.3 s for one of them.
SESSION = {
    "enable_nestloop": "off",
    "application_name": "earnest verify",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "work_mem": "64MB",
    "jit": "off",
    "TimeZone": "UTC",
}


class Progress(msgspec.Struct, frozen=True):
    """How far it is: `done` of `total` rows looked at, now those of `what`."""

    what: str
    done: int
    total: int


class Outside(msgspec.Struct, frozen=True):
    """The anchors to compare with, and where they are: `host:/directory`."""

    anchors: Anchors
    place: str


class Report(msgspec.Struct, frozen=True):
    """`violations`: the first of each broken invariant, lowest number first; of 20 the first row
    and the first line of the anchors."""

    counts: dict[str, int]
    checked: tuple[int, ...]
    violations: tuple[Violation, ...]
    not_checked: dict[str, str]

    @property
    def violation(self) -> Violation | None:
        return self.violations[0] if self.violations else None

    def lines(self) -> list[str]:
        """For people: a line for each invariant, then the verdict."""
        broken = {violation.invariant for violation in self.violations}
        lines = [
            f"{'BROKEN' if number in broken else 'ok':<6} {number:>2}  {TITLES[number]:<50}"
            f"  {self._rows(number)}".rstrip()
            for number in self.checked
        ]
        lines += [f"not checked: {number}, {why}" for number, why in self.not_checked.items()]
        lines += [str(one) for one in self.violations if one.invariant == 20][1:]
        lines.append(str(self.violation) if self.violation else "The books balance.")
        return lines

    def _rows(self, number: int) -> str:
        """How many rows of which tables the checks of an invariant looked at."""
        tables = [check.table for check in CHECKS if check.invariant == number]
        tables += ["contract"] if number in WALKED else []
        tables += ["anchor"] if number == 20 else []
        return ", ".join(
            f"{name} {self.counts[name]:,}" for name in dict.fromkeys(tables) if name in self.counts
        )

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "holds": not self.violations,
            "counts": self.counts,
            "checked": list(self.checked),
            "not_checked": self.not_checked,
            "violation": msgspec.to_builtins(self.violation),
            "violations": msgspec.to_builtins(self.violations),
        }


def _as_told(_provider: str, amount: int, _currency: str) -> int:
    return amount


async def verify(
    dsn: str,
    report: Callable[[Progress], None] = lambda _: None,
    only: Collection[int] = tuple(TITLES),
    minor_of: MinorOf = _as_told,
    outside: Outside | None = None,
) -> Report:
    """Check the invariants in `only` (all of them) as any role that may read the tables.

    `minor_of` reads the amounts in providers' events. Without anchors from `outside`, invariant 20
    is not checked.

    Raises DatabaseRefused when migrations are pending, and AnchorsRefused.
    """
    conn = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS_MAX, server_settings=SESSION)
    try:
        if await pending_migrations(conn):
            raise DatabaseRefused("The database lacks migrations. Apply them: earnest db migrate")
        async with conn.transaction(isolation="repeatable_read", readonly=True):
            return await check(conn, report, only, minor_of, outside, dsn)
    finally:
        await conn.close()


async def check(
    conn: asyncpg.Connection,
    report: Callable[[Progress], None] = lambda _: None,
    only: Collection[int] = tuple(TITLES),
    minor_of: MinorOf = _as_told,
    outside: Outside | None = None,
    dsn: str | None = None,
) -> Report:
    """The same within the caller's transaction, which must see one snapshot, younger than what
    was read of the anchors.

    With the `dsn` of `conn` other processes help. They see what was committed, not what the
    caller's transaction has written.
    """
    row = await conn.fetchrow(COUNTS)
    assert row is not None
    counts: dict[str, int] = dict(row)
    run = _Run(conn, counts, frozenset(only), report, minor_of)
    parts = await divide(conn, dsn, SESSION) if dsn and run.walks else None
    walking = asyncio.create_task(walk_parts(parts, run.walked)) if parts else None
    try:
        violations = await run.statements()
        compared = outside is not None and 20 in only
        outcome = await run.compare(outside) if outside and compared else None
        if run.walks:
            told = await (walking or walk_contracts(conn, run.walked))
            violations += [*told, *await run.inbox_and_businesses()]
    finally:
        if walking is not None:
            walking.cancel()
            await asyncio.gather(walking, return_exceptions=True)
    first: dict[int, Violation] = {}
    for violation in violations:
        if violation.invariant in only:
            first.setdefault(violation.invariant, violation)
    found = tuple(first[number] for number in sorted(first))
    if outcome is None:
        return Report(counts, tuple(sorted({*only} - {20})), found, NOT_CHECKED)
    checked = {*only} if outcome.anchors or outcome.violations else {*only} - {20}
    return Report(
        counts | {"anchor": outcome.anchors},
        tuple(sorted(checked)),
        tuple(sorted((*found, *outcome.violations), key=lambda one: one.invariant)),
        NOT_CHECKED | {"20": outcome.unproved},
    )


class _Run:
    """One run over one snapshot."""

    def __init__(
        self,
        conn: asyncpg.Connection,
        counts: dict[str, int],
        only: frozenset[int],
        report: Callable[[Progress], None],
        minor_of: MinorOf,
    ) -> None:
        objects = ("contract", "payment", "job", "party", "application")
        self._conn = conn
        self._counts = {**counts, "objects": sum(counts[name] for name in objects)}
        self._checks = [check for check in CHECKS if check.invariant in only]
        self._report = report
        self._minor_of = minor_of
        self._done = 0
        self.walks = bool(only & WALKED)
        self._total = sum(self._counts.get(check.table, 0) for check in self._checks)
        if self.walks:
            self._total += WALK_WEIGHT * counts["contract"] + counts["provider_event"]
        if 20 in only:
            self._total += counts["event"] + counts["transfer"]

    async def statements(self) -> list[Violation]:
        """What each statement finds."""
        found: list[Violation] = []
        numerics = [currency.numeric for currency in CURRENCIES.values()]
        for check in self._checks:
            arguments = (list(CURRENCIES), numerics) if check.currencies else ()
            row = await self._conn.fetchrow(check.sql, *arguments)
            if row is not None:
                found.append(check.violation(*row))
            self._advance(check.table, self._counts.get(check.table, 0))
        return found

    async def compare(self, outside: Outside) -> Outcome:
        """What the anchors say, with what there is."""
        return await check_anchors(
            self._conn, outside.anchors, outside.place, lambda rows: self._advance("anchor", rows)
        )

    async def inbox_and_businesses(self) -> list[Violation]:
        codes = {number: currency.code for number, currency in CURRENCY_BY_NUMERIC.items()}
        inbox = await walk_inbox(
            self._conn, codes, lambda rows: self._advance("provider_event", rows), self._minor_of
        )
        return [*inbox, *filter(None, [await walk_businesses(self._conn)])]

    def walked(self, contracts: int) -> None:
        self._advance("contract", contracts * WALK_WEIGHT)

    def _advance(self, what: str, rows: int) -> None:
        self._done += rows
        self._report(Progress(what, min(self._done, self._total), self._total))
