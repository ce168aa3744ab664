"""The calls about **payouts**, and what they answer: what your sellers and you have earned, on its
way to their banks. Most of it goes by the schedule that the operator has set.
"""

from datetime import datetime
from decimal import Decimal

from earnest_client.calls import Call, ask, exact, segment, tell
from earnest_client.documents import Document, Paged

PAYOUTS = "/apps/api/payouts"
PAGE_ENTRIES = 100


class Payout(Document, frozen=True):
    """Money on its way to a bank; `platform_ref_id` says whose, None: your own.

    `status` is pending, paid or failed: then it is in the wallet again, and `failure` says why. A
    payout that was paid may fail for days, when its bank sends it back. The provider's references
    are None until it has made what they name.
    """

    payout_id: str
    platform_ref_id: str | None
    amount: Decimal
    currency: str
    status: str
    cause: str
    failure: str | None
    provider_transfer_id: str | None
    provider_payout_id: str | None
    created_date: datetime
    updated_date: datetime
    paid_date: datetime | None

    @property
    def id(self) -> str:
        """Its `payout_id`."""
        return self.payout_id


class PayoutPage(Paged, frozen=True):
    """Newest first."""

    payouts: list[Payout]
    total_count: int

    @property
    def entries(self) -> list[Payout]:
        """Its payouts."""
        return self.payouts


class PayoutOnboarding(Document, frozen=True):
    """A page of the payment provider's: it opens once, for whoever is to be paid alone."""

    url: str
    expires_at: datetime


def start_payout_onboarding(
    return_url: str,
    *,
    platform_ref_id: str | None = None,
    country: str | None = None,
    idempotency_key: str | None = None,
) -> Call[PayoutOnboarding]:
    """A page on which a user, or you yourself, say where to be paid; it leads to `return_url`.
    `country`, ISO 3166-1 alpha-2, is that of the currency if left out, and cannot be changed."""
    body = {"returnUrl": return_url, "platformRefId": platform_ref_id, "country": country}
    return tell(f"{PAYOUTS}/onboarding", PayoutOnboarding, body, idempotency_key)


def pay_out(
    amount: Decimal | int,
    *,
    platform_ref_id: str | None = None,
    idempotency_key: str | None = None,
) -> Call[Payout]:
    """Pay out now what a user has, or what you are owed."""
    body = {"amount": exact(amount, "amount"), "platformRefId": platform_ref_id}
    return tell(PAYOUTS, Payout, body, idempotency_key)


def list_payouts(
    *, platform_ref_id: str | None = None, page: int = 1, page_size: int = PAGE_ENTRIES
) -> Call[PayoutPage]:
    """All payouts, or those of one user; the newest first."""
    return ask(PAYOUTS, PayoutPage, platformRefId=platform_ref_id, page=page, pageSize=page_size)


def get_payout(payout_id: str) -> Call[Payout]:
    """How a payout stands."""
    return ask(f"{PAYOUTS}/{segment(payout_id)}", Payout)
