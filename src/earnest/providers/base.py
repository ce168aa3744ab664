"""What Earnest asks of a payment provider, and what a provider tells Earnest.

A **checkout session** is a page of the provider's where a payer pays one amount once. A
**provider event** is the provider's signed word about what happened to it. Invariant: no
money is booked because a call returned or a browser came back; only an event, or a
session that was looked up, says "paid".

The interface holds what the product uses today: taking money in and giving it back. Payouts join
it together with the code that calls them.
"""

from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

AMOUNT_MINOR_MAX = 2**53
EXPIRES_IN_SECONDS_MIN = 30 * 60
EXPIRES_IN_SECONDS_MAX = 24 * 60 * 60


# -- taking money in ------------------------------------------------------------------------


class CheckoutRequest(msgspec.Struct, frozen=True):
    """One amount to collect. `expires_in_seconds` is from 30 minutes to 24 hours.

    `idempotency_key` is our own id of the operation: the same key with the same request is
    the same session, however often it is sent; `asked_at`, in business time, is when the operation
    began, and not when it is repeated. `metadata` comes back in every event.
    """

    idempotency_key: str
    amount_minor: int
    currency: str
    title: str
    metadata: dict[str, str]
    success_url: str
    cancel_url: str
    asked_at: datetime
    expires_in_seconds: int


class CheckoutSession(msgspec.Struct, frozen=True):
    """An open page: send the payer to `url` before `expires_at`, in business time."""

    id: str
    url: str
    expires_at: datetime


class CheckoutState(StrEnum):
    """Where a session stands: open, or processing (the payer is done, their bank is not),
    or for ever paid, failed or expired."""

    OPEN = "open"
    PROCESSING = "processing"
    PAID = "paid"
    FAILED = "failed"
    EXPIRED = "expired"


class CheckoutStatus(msgspec.Struct, frozen=True):
    """A session as the provider knows it now; `payment_id` is None until the payer is done."""

    session: CheckoutSession
    state: CheckoutState
    amount_minor: int
    currency: str
    payment_id: str | None
    metadata: dict[str, str]


class RefundRequest(msgspec.Struct, frozen=True):
    """Money of one captured payment to give back to who paid it. `payment_id` is the provider's.

    `idempotency_key` is our own id of the refund: the same key is the same refund.
    """

    idempotency_key: str
    payment_id: str
    amount_minor: int
    currency: str
    metadata: dict[str, str]


class ProviderRefundState(StrEnum):
    """PENDING: accepted, and not yet done; for ever succeeded or failed."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class ProviderRefund(msgspec.Struct, frozen=True):
    """A refund as the provider knows it now."""

    id: str
    state: ProviderRefundState
    amount_minor: int
    currency: str


class Provider(Protocol):
    """A payment provider. Every method raises ProviderTransient when nothing happened and a
    repetition may help, ProviderUnknown when it may have happened: look it up."""

    async def create_checkout(self, request: CheckoutRequest) -> CheckoutSession:
        """The session of `request.idempotency_key`, opened now unless it exists.

        Raises ProviderPermanent when the request is refused, ProviderKeyReused when the key was
        used for another request, ProviderKeyInUse while another call with it is under way.
        """
        ...

    async def find_checkout(self, session_id: str) -> CheckoutStatus | None:
        """How the session stands, None if the provider does not know it."""
        ...

    async def expire_checkout(self, session_id: str) -> None:
        """Close an open session: nobody can pay on it afterwards. Once is enough, twice is
        harmless. Raises ProviderPermanent if it is not open any more, or unknown."""
        ...

    async def create_refund(self, request: RefundRequest) -> ProviderRefund:
        """The refund of `request.idempotency_key`, begun now unless it exists.

        Raises ProviderPermanent when the request is refused (an unknown payment, more than is left
        of it), or when the key was used for another request.
        """
        ...

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        """How the refund of this request stands, None if the provider does not know it.

        It is known by the metadata `refundId`, which is its idempotency key.
        """
        ...

    async def close(self) -> None:
        """Let go of all connections; nothing is asked of it afterwards."""
        ...
