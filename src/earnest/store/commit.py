"""The one door: nothing else writes contracts, payments, transfers, events or replies.

A **commit** is a decided Change with its transfers and, if the caller sent an idempotency key,
the rendered reply. It is written whole or not at all, durably before anybody hears of it, and
only if every aggregate in it still has the version that the decision saw. Commits that arrive
while one is in flight travel together (see `earnest.store.grouping`).

    True    written
    False   somebody was faster: load and decide again
    raises  the error of the named constraint that refused it, Unavailable, OutcomeUnknown
"""

import time
from collections.abc import Callable, Hashable, Sequence

import asyncpg
import msgspec

from earnest.domain.change import Change
from earnest.errors import EarnestError, OutcomeUnknown
from earnest.ledger.accounts import Kind
from earnest.ledger.movements import Transfer
from earnest.store.db import Pool
from earnest.store.grouping import Grouped
from earnest.store.idempotency import Once, Reply, reply_row
from earnest.store.rows import (
    Row,
    contract_row,
    event_row,
    inbox_row,
    member_row,
    payment_row,
    refund_row,
    terms_row,
    transfer_row,
)
from earnest.store.rows_out import booking_row, chargeback_row, payout_row

MEMBERS_MAX = 128
LANES = 2
WORTH_A_LANE = 8
"""A second batch at once pays only when it is not too small (docs/performance.md)."""

COMMIT = """
SELECT commit_changes($1::party[], $2::contract[], $3::contract_terms[], $4::payment[],
                      $5::refund[], $6::payout[], $7::chargeback[], $8::booked_line[],
                      $9::provider_event[], $10::event[], $11::transfer[],
                      $12::idempotency_key[])
"""

# Ends the backend whose fate is unknown (it is ours), waiting until it is gone; then what it
# did is as final as it will ever be.
END_BACKEND = "SELECT pg_terminate_backend($1, 5000)"
# What that returns does not tell a backend that was gone already from one that will not go.
IS_GONE = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"
WHICH_COMMITTED = "SELECT id FROM event WHERE id = ANY($1::bigint[])"

LATER = frozenset(
    {
        "booked_line_once",
        "chargeback_dispute_unique",
        "contract_one_live_per_job",
        "event_chain",
        "idempotency_key_once",
        "party_phone_unique",
        "party_ref_unique",
        "payment_one_open_per_contract",
        "payment_one_open_per_job",
        "payment_provider_payment_unique",
        "provider_event_money_once",
        "provider_event_once",
    }
)
"""Somebody else did this at the same moment: loading again shows what they did, and the rules
then say whether it is the same thing, or one that is refused."""


_OTHERS = frozenset({Kind.WALLET, Kind.PARTNER_PAYABLE})


class Commit(msgspec.Struct, frozen=True):
    """One change, ready to be written."""

    change: Change
    transfers: tuple[Transfer, ...] = ()
    once: Once | None = None
    reply: Reply | None = None

    @property
    def solo(self) -> bool:
        """Whether it debits an account that its aggregate does not own: never in a batch."""
        return any(transfer.debit >> 57 in _OTHERS for transfer in self.transfers)


def claims(commit: Commit) -> Sequence[Hashable]:
    """What a commit needs for itself while it is under way."""
    change = commit.change
    claimed: list[Hashable] = []
    if change.contract is not None:
        claimed.append(("contract", change.contract.key))
        if change.contract.version == 1 and change.contract.job is not None:
            claimed.append(("job", change.contract.job))
    if change.payment is not None:
        claimed.append(("payment", change.payment.key))
        if change.payment.version == 1:
            of = change.payment
            claimed.append(("checkout", of.job) if of.job else ("checkout of", of.contract))
    if change.refund is not None:
        claimed.append(("refund", change.refund.key))
    if change.payout is not None:
        claimed.append(("payout", change.payout.key))
    if change.chargeback is not None:
        at = change.chargeback.provider_account
        claimed.append(("dispute", at, change.chargeback.provider_dispute_id))
    claimed.extend(("line", one.provider_account, one.line_id) for one in change.bookings)
    claimed.extend(("party", one.business, one.phone) for one in change.members)
    if commit.once is not None:
        claimed.append(commit.once.scope)
    if change.consumed is not None:
        capture = change.consumed.capture
        claimed.append(("event", capture.provider, capture.event_id))
        if capture.session_id is not None:
            claimed.append(("session", capture.provider, capture.session_id))
    return claimed


Observe = Callable[[Sequence[bool | BaseException], float], None]
"""Is told what became of the members of a batch, and how many seconds that took."""


class Door:
    """The way in for commits, over `pool`."""

    def __init__(
        self,
        pool: Pool,
        *,
        members_max: int = MEMBERS_MAX,
        lanes: int = LANES,
        worth_a_lane: int = WORTH_A_LANE,
        observe: Observe = lambda _answers, _seconds: None,
    ) -> None:
        self._pool = pool
        self._observe = observe
        self._together = Grouped(
            self._write_batch,
            members_max=members_max,
            lanes=lanes,
            worth_a_lane=worth_a_lane,
            claims=claims,
        )
        self._one_by_one = Grouped(self._write_batch, members_max=1, claims=claims)

    async def commit(self, commit: Commit) -> bool:
        """Write `commit`; False when it came too late. See the module's table."""
        way = self._one_by_one if commit.solo else self._together
        return await way(commit)

    async def drain(self) -> None:
        """Wait until every commit that was handed in has its answer."""
        await self._together.drain()
        await self._one_by_one.drain()

    async def _write_batch(self, commits: Sequence[Commit]) -> list[bool | BaseException]:
        begun = time.perf_counter()
        answers = await self._outcomes(commits)
        self._observe(answers, time.perf_counter() - begun)
        return answers

    async def _outcomes(self, commits: Sequence[Commit]) -> list[bool | BaseException]:
        if len(commits) == 1:
            return [await self._write_alone(commits[0])]
        try:
            written = await self._write(commits)
        except asyncpg.PostgresError:
            # The statement failed, so nothing of it is there: whose fault it was shows alone.
            return [await self._write_alone(commit) for commit in commits]
        except EarnestError as error:
            return [error] * len(commits)
        return [commit.change.commit_id in written for commit in commits]

    async def _write_alone(self, commit: Commit) -> bool | BaseException:
        try:
            return commit.change.commit_id in await self._write([commit])
        except asyncpg.PostgresError as error:
            constraint = getattr(error, "constraint_name", None)
            if constraint in LATER or error.sqlstate in _TRY_AGAIN:
                return False
            if constraint == "balance_floor" and commit.change.empties_an_account:
                return False
            return error
        except EarnestError as error:
            return error

    async def _write(self, commits: Sequence[Commit]) -> set[int]:
        """The commit ids that were written; asyncpg.PostgresError when nothing was."""
        rows = _rows(commits)
        conn = await self._pool.acquire()
        backend = conn.get_server_pid()
        try:
            left_out = await conn.fetchval(COMMIT, *rows)
        except BaseException as error:
            self._pool.release(conn, error)
            if isinstance(error, asyncpg.PostgresError) and not _is_lost(error):
                raise
            if isinstance(error, (*_LOST, asyncpg.PostgresError)):
                return await self._look_up(backend, commits)
            raise
        self._pool.release(conn)
        return {commit.change.commit_id for commit in commits}.difference(left_out)

    async def _look_up(self, backend: int, commits: Sequence[Commit]) -> set[int]:
        """What a broken call did: unknown is not failed."""
        commit_ids = [commit.change.commit_id for commit in commits]
        try:
            async with self._pool.connection() as conn:
                await conn.fetchval(END_BACKEND, backend)
                if not await conn.fetchval(IS_GONE, backend):
                    raise OutcomeUnknown
                return {row[0] for row in await conn.fetch(WHICH_COMMITTED, commit_ids)}
        except Exception as error:
            raise OutcomeUnknown from error


_LOST = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_TRY_AGAIN = frozenset({"EA001", "40001", "40P01"})
"""Our own "a row moved", serialization failure, deadlock: nothing was written."""


def _is_lost(error: asyncpg.PostgresError) -> bool:
    """Whether this error says that the connection ended, not that the statement failed."""
    return isinstance(error, asyncpg.PostgresConnectionError) or (error.sqlstate or "").startswith(
        "57P"
    )


def _rows(commits: Sequence[Commit]) -> list[list[Row]]:
    """The arrays of commit_changes; rows that lock come in key order."""
    members: list[Row] = []
    contracts: list[Row] = []
    terms: list[Row] = []
    payments: list[Row] = []
    refunds: list[Row] = []
    payouts: list[Row] = []
    chargebacks: list[Row] = []
    bookings: list[Row] = []
    inbox: list[Row] = []
    events: list[Row] = []
    transfers: list[Row] = []
    replies: list[Row] = []
    for commit in commits:
        change = commit.change
        members.extend(map(member_row, change.members))
        if change.contract is not None:
            contracts.append(contract_row(change.contract))
            if change.contract.version == 1:
                terms.append(terms_row(change.contract))
        if change.payment is not None:
            payments.append(payment_row(change.payment))
        if change.refund is not None:
            refunds.append(refund_row(change.refund))
        if change.payout is not None:
            payouts.append(payout_row(change.payout))
        if change.chargeback is not None:
            chargebacks.append(chargeback_row(change.chargeback))
        bookings.extend(booking_row(change.commit_id, one) for one in change.bookings)
        if change.consumed is not None:
            inbox.append(inbox_row(change.commit_id, change.consumed))
        events.extend(map(event_row, change.events))
        transfers.extend(map(transfer_row, commit.transfers))
        if commit.once is not None and commit.reply is not None:
            replies.append(
                (*reply_row(change.commit_id, commit.once, commit.reply), change.recorded_at)
            )
    for rows in (members, contracts, payments, refunds, payouts, chargebacks, replies):
        rows.sort(key=lambda row: row[0])
    for rows in (inbox, bookings):
        rows.sort(key=lambda row: row[:2])
    return [
        members, contracts, terms, payments, refunds, payouts, chargebacks, bookings, inbox,
        events, transfers, replies,
    ]  # fmt: skip
