"""What Stripe says about the account that our key belongs to: looked at, and never changed.

A **question** is one of three: the account, its mode, its webhook endpoints; where it has no answer
it is **unseen**, for a reason. Invariant: a question without an answer takes no other with it, all
of them together take CALL_SECONDS at most, and what is told of them repeats neither a key nor a
sentence of Stripe's.
"""

import asyncio
from collections.abc import Awaitable
from enum import StrEnum
from typing import Annotated, TypeVar

import msgspec
import stripe

from earnest.errors import ProviderError
from earnest.providers.stripe_line import StripeCaller, answered, read

PAGE_ENDPOINTS = 100

T = TypeVar("T")

_Word = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_.-]{1,80}\Z")]


class Why(StrEnum):
    """Why Stripe did not answer."""

    KEY = "key"
    RIGHT = "right"
    FAILURE = "failure"


class Unseen(msgspec.Struct, frozen=True):
    """A question without an answer. `told` is a sentence of ours about a failure."""

    why: Why
    told: str = ""


class OwnAccount(msgspec.Struct, frozen=True):
    """`payouts_interval` is manual, daily, weekly or monthly; `transfers` active, inactive or
    pending; None is what Stripe does not tell."""

    charges_enabled: bool
    payouts_enabled: bool
    payouts_interval: str | None
    transfers: str | None


class WebhookEndpoint(msgspec.Struct, frozen=True):
    """One address that Stripe posts events to. `events` may be {"*"}: all; `api_version` None: the
    account's own. `is_connected`: of connected accounts; of our own otherwise."""

    id: str
    url: str
    is_enabled: bool
    is_connected: bool
    events: frozenset[str]
    api_version: str | None


class Look(msgspec.Struct, frozen=True):
    """All that was asked. `livemode`: whether the account answers about real money."""

    account: OwnAccount | Unseen
    livemode: bool | Unseen
    endpoints: tuple[WebhookEndpoint, ...] | Unseen


class _Schedule(msgspec.Struct, frozen=True):
    interval: _Word


class _Payouts(msgspec.Struct, frozen=True):
    schedule: _Schedule | None = None


class _Settings(msgspec.Struct, frozen=True):
    payouts: _Payouts | None = None


class _Account(msgspec.Struct, frozen=True):
    charges_enabled: bool
    payouts_enabled: bool
    capabilities: dict[str, _Word] = {}
    settings: _Settings | None = None


class _Balance(msgspec.Struct, frozen=True):
    livemode: bool


class _Endpoint(msgspec.Struct, frozen=True):
    id: _Word
    url: str
    status: str
    enabled_events: frozenset[str]
    api_version: _Word | None
    application: str | None


class StripeCheckup(StripeCaller):
    """The part of the provider that looks at our own account, for `earnest doctor`."""

    async def look(self) -> Look:
        """Ask everything at once. What goes wrong is in the answer; nothing is raised."""
        return Look(
            *await asyncio.gather(
                _seen(self._own_account()), _seen(self._answers_live()), _seen(self._endpoints())
            )
        )

    async def _own_account(self) -> OwnAccount:
        found = read(await self._client.v1.accounts.retrieve_current_async(), _Account)
        payouts = found.settings.payouts if found.settings else None
        schedule = payouts.schedule if payouts else None
        return OwnAccount(
            found.charges_enabled,
            found.payouts_enabled,
            schedule.interval if schedule else None,
            found.capabilities.get("transfers"),
        )

    async def _answers_live(self) -> bool:
        # An account says nothing of its mode; its balance does.
        return read(await self._client.v1.balance.retrieve_async(), _Balance).livemode

    async def _endpoints(self) -> tuple[WebhookEndpoint, ...]:
        page = await self._client.v1.webhook_endpoints.list_async({"limit": PAGE_ENDPOINTS})
        return tuple([_endpoint(read(each, _Endpoint)) async for each in page.auto_paging_iter()])


async def _seen(question: Awaitable[T]) -> T | Unseen:
    try:
        async with answered():
            try:
                return await question
            except stripe.AuthenticationError:
                return Unseen(Why.KEY)
            except stripe.PermissionError:
                return Unseen(Why.RIGHT)
    except ProviderError as error:
        return Unseen(Why.FAILURE, error.message)


def _endpoint(found: _Endpoint) -> WebhookEndpoint:
    """`connect` is asked for when an endpoint is made, and never told; those that were made with it
    name the Connect application (github.com/stripe/stripe-dotnet/issues/1876)."""
    return WebhookEndpoint(
        found.id,
        found.url,
        found.status == "enabled",
        found.application is not None,
        found.enabled_events,
        found.api_version,
    )
