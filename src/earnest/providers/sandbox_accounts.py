"""The sandbox provider's **payout accounts** and the **onboarding links** of their owners.

An account is payable from the start, or once its owner has completed the page behind a link when
the provider `needs_onboarding`. Invariant: a link opens once, within ten minutes; what it opens, a
**visit**, is completed at most once.
"""

import re
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from earnest.errors import NotFound, ProviderPermanent
from earnest.providers.base import AccountRequest, OnboardingLink, PayoutAccount
from earnest.providers.sandbox_memory import Connection, Connections, SandboxMemory, new_id, tell
from earnest.providers.sandbox_rules import origin
from earnest.providers.strict import storable

LINK_SECONDS = 600
REFERENCE_CHARACTERS_MAX = 255
TEXT_CHARACTERS_MAX = 1000
COUNTRIES_WITHOUT_PAYOUTS = frozenset({"CU", "IR", "KP", "SY"})

ACCOUNT_ID = re.compile(r"acct_test_[A-Za-z0-9_-]{32}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_COUNTRY = re.compile(r"[A-Z]{2}")

INSERT_ACCOUNT = """
INSERT INTO sandbox.account (
    id, reference, email, name, country, is_company, onboarded_at, created_at
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (reference) DO NOTHING
RETURNING id, reference, onboarded_at
"""

FIND_BY_REFERENCE = """
SELECT id, reference, onboarded_at FROM sandbox.account WHERE reference = $1
"""

FIND_ACCOUNT = "SELECT id, reference, onboarded_at FROM sandbox.account WHERE id = $1"

INSERT_LINK = """
INSERT INTO sandbox.onboarding_link (
    token, visit, account_id, return_url, refresh_url, created_at, expires_at
) VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

# Whoever opens a link twice at once: the second waits for the row, and finds it opened.
OPEN_LINK = """
UPDATE sandbox.onboarding_link
SET opened_at = $2
WHERE token = $1 AND opened_at IS NULL AND expires_at > $2
RETURNING visit
"""

FIND_LINK = "SELECT refresh_url FROM sandbox.onboarding_link WHERE token = $1"

FIND_VISIT = """
SELECT l.visit, l.return_url, l.refresh_url, l.expires_at, l.done_at, a.name, a.email
FROM sandbox.onboarding_link AS l
INNER JOIN sandbox.account AS a ON a.id = l.account_id
WHERE l.visit = $1 AND l.opened_at IS NOT NULL
"""

FINISH = """
UPDATE sandbox.onboarding_link
SET done_at = $2
WHERE visit = $1 AND opened_at IS NOT NULL AND done_at IS NULL AND expires_at > $2
RETURNING account_id
"""

ONBOARD = """
UPDATE sandbox.account
SET onboarded_at = $2
WHERE id = $1 AND onboarded_at IS NULL
RETURNING id, reference, onboarded_at
"""


class Visit(msgspec.Struct, frozen=True):
    """An onboarding page: who is to be paid, and where it leads. `is_over`: its time is."""

    id: str
    name: str
    email: str
    return_url: str
    refresh_url: str
    is_over: bool
    is_done: bool


class SandboxAccounts(SandboxMemory):
    """The part of the provider that knows who is paid."""

    def __init__(
        self,
        pool: Connections,
        public_url: str,
        clock: Callable[[], Awaitable[datetime]],
        *,
        needs_onboarding: bool = False,
    ) -> None:
        super().__init__(pool, public_url, clock)
        self._needs_onboarding = needs_onboarding

    @property
    def needs_onboarding(self) -> bool:
        """See `Provider.needs_onboarding`."""
        return self._needs_onboarding

    async def create_account(self, request: AccountRequest) -> PayoutAccount:
        """See `Provider.create_account`."""
        _refuse_unusable(request)
        now = await self.clock()
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(
                INSERT_ACCOUNT,
                new_id("acct"),
                request.reference,
                request.email,
                request.name,
                request.country,
                request.is_company,
                None if self._needs_onboarding else now,
                now,
            ) or await connection.fetchrow(FIND_BY_REFERENCE, request.reference)
        assert row is not None
        return self._account(row)

    async def find_account(self, account_id: str) -> PayoutAccount | None:
        """See `Provider.find_account`."""
        async with self._pool.connection() as connection:
            return await self._find_account(connection, account_id)

    async def _find_account(self, connection: Connection, account_id: str) -> PayoutAccount | None:
        if not ACCOUNT_ID.fullmatch(account_id):
            return None
        row = await connection.fetchrow(FIND_ACCOUNT, account_id)
        return None if row is None else self._account(row)

    def _account(self, row: asyncpg.Record) -> PayoutAccount:
        is_payable = row["onboarded_at"] is not None or not self._needs_onboarding
        return PayoutAccount(row["id"], is_payable, () if is_payable else ("external_account",))

    # -- onboarding -----------------------------------------------------------------------------

    async def create_onboarding_link(
        self, account_id: str, *, return_url: str, refresh_url: str
    ) -> OnboardingLink:
        """See `Provider.create_onboarding_link`."""
        if origin(return_url) is None or origin(refresh_url) is None:
            raise ProviderPermanent("return_url and refresh_url must be http or https URLs.")
        now = await self.clock()
        expires_at = now + timedelta(seconds=LINK_SECONDS)
        token, visit = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        async with self._pool.connection() as connection:
            if await self._find_account(connection, account_id) is None:
                raise ProviderPermanent("There is no such account.")
            await connection.execute(
                INSERT_LINK, token, visit, account_id, return_url, refresh_url, now, expires_at
            )
        return OnboardingLink(f"{self._public_url}/sandbox/onboarding/{token}", expires_at)

    async def open_onboarding(self, token: str) -> tuple[str | None, str]:
        """The visit that a link leads to, None if it was opened before or is too old, and where
        its visitors go then. Raises NotFound if there is no such link."""
        if not _TOKEN.fullmatch(token):
            raise NotFound("There is no such link.")
        now = await self.clock()
        async with self._pool.connection() as connection:
            visit = await connection.fetchval(OPEN_LINK, token, now)
            refresh_url = await connection.fetchval(FIND_LINK, token)
        if refresh_url is None:
            raise NotFound("There is no such link.")
        return visit, refresh_url

    async def find_visit(self, visit: str) -> Visit | None:
        """A visit that a link was opened to; None if there is none."""
        if not _TOKEN.fullmatch(visit):
            return None
        now = await self.clock()
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(FIND_VISIT, visit)
        if row is None:
            return None
        return Visit(
            id=row["visit"],
            name=row["name"],
            email=row["email"],
            return_url=row["return_url"],
            refresh_url=row["refresh_url"],
            is_over=row["expires_at"] <= now,
            is_done=row["done_at"] is not None,
        )

    async def finish_onboarding(self, visit: str) -> bool:
        """Complete a visit: its account is payable, which an event tells. False if it had been
        completed before, or its time is over."""
        if not _TOKEN.fullmatch(visit):
            return False
        now = await self.clock()
        async with self._pool.connection() as connection, connection.transaction():
            account_id = await connection.fetchval(FINISH, visit, now)
            if account_id is None:
                return False
            row = await connection.fetchrow(ONBOARD, account_id, now)
            if row is not None:
                await tell(
                    connection, "account.updated", _as_stripe(row), now, account_id=account_id
                )
            return True


def _refuse_unusable(request: AccountRequest) -> None:
    rules = {
        "reference must have 1 to 255 characters": (
            0 < len(request.reference) <= REFERENCE_CHARACTERS_MAX
        ),
        "a text cannot be stored": all(
            storable(text) and len(text) <= TEXT_CHARACTERS_MAX
            for text in (request.reference, request.email, request.name)
        ),
        "country must be one that we pay in": bool(_COUNTRY.fullmatch(request.country))
        and request.country not in COUNTRIES_WITHOUT_PAYOUTS,
    }
    for broken, holds in rules.items():
        if not holds:
            raise ProviderPermanent(f"The account was refused: {broken}.")


def _as_stripe(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "account",
        "capabilities": {"transfers": "active"},
        "details_submitted": True,
        "metadata": {"partyId": row["reference"]},
        "payouts_enabled": True,
        "requirements": {"currently_due": [], "disabled_reason": None},
    }
