"""The sandbox provider: a payment company for development, in which no money is real.

It keeps **sessions** and an **outbox** of signed events in its own schema `sandbox`, as an
outside company would in its own database: they survive a restart and know nothing of
contracts. Invariant: a session takes each step (open, perhaps processing, then paid, failed
or expired) at most once, a step stores exactly one event in the same transaction, and that
event's bytes never change, however often it is delivered.

Two clocks: expiry and the retry schedule follow business time (`clock`), which a test can
move; signatures and leases follow real time.
"""

import asyncio
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import asyncpg
import httpx
import msgspec

from earnest.domain.money import CURRENCIES
from earnest.errors import (
    Conflict,
    InvalidField,
    NotFound,
    ProviderPermanent,
)
from earnest.providers import sandbox_refunds, signature
from earnest.providers import sandbox_rules as rules
from earnest.providers import sandbox_statements as sql
from earnest.providers.base import (
    CheckoutRequest,
    CheckoutSession,
    CheckoutState,
    CheckoutStatus,
    ProviderRefund,
    RefundRequest,
)
from earnest.providers.http import open_client
from earnest.providers.sandbox_books import SandboxBooks
from earnest.providers.sandbox_memory import (
    Connection,
    Connections,
    Letter,
    hash_of,
    require_same,
    tell,
)
from earnest.providers.sandbox_payouts import SandboxPayouts
from earnest.providers.sandbox_rules import Outcome, Session

ANSWER_WITHIN_SECONDS = 10
LEASE_SECONDS = 30
DELIVERIES_MAX = 50
EXPIRIES_MAX = 100

_SESSION_ID = re.compile(r"cs_test_[A-Za-z0-9_-]{43}")


class Completion(msgspec.Struct, frozen=True):
    """A session after an outcome; `delivered` once the webhook has answered 2xx."""

    id: str
    outcome: Outcome
    delivered: bool


class HostedPage(msgspec.Struct, frozen=True):
    """What the card page shows and where it leads."""

    status: CheckoutStatus
    title: str
    success_url: str
    cancel_url: str


class SandboxProvider(SandboxPayouts, SandboxBooks):
    """A `Provider`, and the payer's side of it: `complete`, and the page's `find_page`.

    The worker calls `expire_due` and `deliver_due` every second or so.
    """

    def __init__(
        self,
        pool: Connections,
        webhook_secret: str,
        webhook_url: str,
        public_url: str,
        clock: Callable[[], Awaitable[datetime]],
        *,
        needs_onboarding: bool = False,
    ) -> None:
        if not webhook_secret.strip() or rules.origin(webhook_url) is None:
            raise ValueError("the sandbox provider needs a webhook secret and an http(s) URL")
        super().__init__(pool, public_url, clock, needs_onboarding=needs_onboarding)
        self._webhook_secret = webhook_secret
        self._webhook_url = webhook_url
        self._http = open_client(ANSWER_WITHIN_SECONDS)

    async def close(self) -> None:
        """Close the connections to the webhook."""
        await self._http.aclose()

    def can_collect(self, amount_minor: int, currency: str) -> bool:
        """See `Provider.can_collect`: it takes everything."""
        return amount_minor > 0 and currency in CURRENCIES

    async def create_checkout(self, request: CheckoutRequest) -> CheckoutSession:
        """See `Provider.create_checkout`. `{CHECKOUT_SESSION_ID}` in success_url is replaced."""
        rules.refuse_unusable(request)
        request_hash = hash_of(request)
        now = await self.clock()
        session_id = f"cs_test_{secrets.token_urlsafe(32)}"
        async with self._pool.connection() as connection:
            await connection.execute(
                sql.INSERT_SESSION,
                session_id,
                request.idempotency_key,
                request_hash,
                request.title,
                request.amount_minor,
                request.currency,
                msgspec.json.encode(request.metadata).decode(),
                request.success_url.replace("{CHECKOUT_SESSION_ID}", session_id),
                request.cancel_url,
                now,
                now + timedelta(seconds=request.expires_in_seconds),
            )
            row = await connection.fetchrow(sql.FIND_BY_KEY, request.idempotency_key)
        assert row is not None
        require_same(row, request)
        return CheckoutSession(row["id"], self._page_url(row["id"]), row["expires_at"])

    async def find_checkout(self, session_id: str) -> CheckoutStatus | None:
        """See `Provider.find_checkout`."""
        page = await self.find_page(session_id)
        return page.status if page else None

    async def find_page(self, session_id: str) -> HostedPage | None:
        """What the card page of `session_id` shows, None if there is no such session."""
        now = await self.clock()
        session = None
        if _SESSION_ID.fullmatch(session_id):
            async with self._pool.connection() as connection:
                session = _read(await connection.fetchrow(sql.FIND_SESSION, session_id))
        if session is None:
            return None
        state = session.state
        if state is CheckoutState.OPEN and session.expires_at <= now:
            state = CheckoutState.EXPIRED  # expire_due has not come by yet
        status = CheckoutStatus(
            CheckoutSession(session.id, self._page_url(session.id), session.expires_at),
            state,
            session.amount_minor,
            session.currency,
            session.payment_id,
            session.metadata,
        )
        return HostedPage(status, session.title, session.success_url, session.cancel_url)

    async def expire_checkout(self, session_id: str) -> None:
        """See `Provider.expire_checkout`; the event leaves with the next `deliver_due`."""
        try:
            await self._take_step(session_id, Outcome.EXPIRED, leased=False)
        except (Conflict, NotFound) as error:
            raise ProviderPermanent(error.message) from error

    async def create_refund(self, request: RefundRequest) -> ProviderRefund:
        """See `Provider.create_refund`; the money is back at once."""
        now = await self.clock()
        async with self._pool.connection() as connection:
            return await sandbox_refunds.create(connection, request, now)

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        """See `Provider.find_refund`."""
        async with self._pool.connection() as connection:
            return await sandbox_refunds.find(connection, request)

    async def complete(self, session_id: str, outcome: str) -> Completion:
        """Let the payer of `session_id` end it, and deliver the event once before returning.

        The same outcome again changes nothing; it repeats the delivery if that is still
        owed. Raises InvalidField for another word than an Outcome, NotFound, Conflict after
        another outcome, and Refused when the session's time is over.
        """
        try:
            wanted = Outcome(outcome)
        except ValueError:
            raise InvalidField("outcome", "must be paid, failed, expired or unpaid") from None
        letter, delivered = await self._take_step(session_id, wanted, leased=True)
        if letter is not None:
            delivered = await self._deliver(letter)
        return Completion(session_id, wanted, delivered)

    async def expire_due(self) -> int:
        """Expire open sessions whose time is over, at most 100 a call. Returns how many."""
        now = await self.clock()
        async with self._pool.connection() as connection, connection.transaction():
            rows = await connection.fetch(sql.LOCK_EXPIRED, now, EXPIRIES_MAX)
            for row in rows:
                session = _read(await connection.fetchrow(sql.LOCK_SESSION, row["id"]))
                assert session is not None
                await self._store_step(connection, session, Outcome.EXPIRED, now, leased=False)
        return len(rows)

    async def deliver_due(self, limit: int = DELIVERIES_MAX) -> int:
        """Attempt the events that are due, at most `limit` (50) at once. Returns how many."""
        now = await self.clock()
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                sql.CLAIM_DUE, now, min(limit, DELIVERIES_MAX), LEASE_SECONDS
            )
        await asyncio.gather(*(self._deliver(_letter(row)) for row in rows))
        return len(rows)

    async def _take_step(
        self, session_id: str, outcome: Outcome, leased: bool
    ) -> tuple[Letter | None, bool]:
        """The event to deliver now, if it is ours to deliver, and whether it has been."""
        if not _SESSION_ID.fullmatch(session_id):
            raise NotFound("There is no such checkout session.")
        now = await self.clock()
        async with self._pool.connection() as connection, connection.transaction():
            session = _read(await connection.fetchrow(sql.LOCK_SESSION, session_id))
            if session is None:
                raise NotFound("There is no such checkout session.")
            if session.state is not rules.AFTER[outcome]:
                letter = await self._store_step(connection, session, outcome, now, leased)
                return letter, False
            last = await connection.fetchrow(sql.LAST_EVENT, session_id)
            assert last is not None
            if not leased or last["delivered_at"] is not None:
                return None, last["delivered_at"] is not None
            claimed = await connection.fetchrow(sql.CLAIM_EVENT, last["id"], LEASE_SECONDS)
            return (_letter(claimed) if claimed else None), False

    async def _store_step(
        self,
        connection: Connection,
        session: Session,
        outcome: Outcome,
        now: datetime,
        leased: bool,
    ) -> Letter:
        """Write the step and its event, inside the caller's transaction."""
        state, type_ = rules.step(session, outcome, now)
        payment_id = session.payment_id
        if payment_id is None and state is not CheckoutState.EXPIRED:
            payment_id = f"pi_test_{secrets.token_urlsafe(24)}"
        after = msgspec.structs.replace(session, state=state, payment_id=payment_id)
        await connection.execute(sql.STEP_SESSION, session.id, state, payment_id)
        return await tell(
            connection,
            type_,
            rules.as_stripe(after),
            now,
            session_id=session.id,
            leased_seconds=LEASE_SECONDS if leased else 0,
        )

    async def _deliver(self, letter: Letter) -> bool:
        """One attempt, with no transaction open; its answer is recorded. True for a 2xx."""
        delivered, answer = await self._post(letter.body)
        now = await self.clock()
        async with self._pool.connection() as connection:
            await connection.execute(
                sql.RECORD_ANSWER,
                letter.id,
                now if delivered else None,
                None
                if delivered
                else rules.next_attempt_at(letter.attempts, letter.created_at, now),
                answer,
            )
        return delivered

    async def _post(self, body: bytes) -> tuple[bool, str]:
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Earnest-Sandbox/1",
            signature.HEADER: signature.sign(body, self._webhook_secret, int(time.time())),
        }
        try:
            async with asyncio.timeout(ANSWER_WITHIN_SECONDS):
                # Only the status counts: the answer's body is not read, however long it is.
                async with self._http.stream(
                    "POST", self._webhook_url, content=body, headers=headers
                ) as response:
                    return response.is_success, f"HTTP {response.status_code}"
        except (httpx.HTTPError, TimeoutError) as error:
            return False, type(error).__name__

    def _page_url(self, session_id: str) -> str:
        return f"{self._public_url}/sandbox/pay/{session_id}"


def _read(row: asyncpg.Record | None) -> Session | None:
    if row is None:
        return None
    return Session(
        id=row["id"],
        title=row["title"],
        amount_minor=row["amount_minor"],
        currency=row["currency"],
        metadata=msgspec.json.decode(row["metadata"], type=dict[str, str]),
        success_url=row["success_url"],
        cancel_url=row["cancel_url"],
        state=CheckoutState(row["state"]),
        payment_id=row["payment_id"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )


def _letter(row: asyncpg.Record) -> Letter:
    return Letter(row["id"], row["body"], row["attempts"], row["created_at"])
