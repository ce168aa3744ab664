"""What Stripe's own books say: disputes, and every change of our balance.

A **dispute** is a payer's bank that asks for a payment back, or has taken it. A **balance
transaction** is one line of Stripe's books, in the currency that we are settled in, its fee apart.
Invariant: lines are read, never interpreted into each other; a type that we do not know is OTHER.
"""

import logging
import math
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import stripe

from earnest.errors import ProviderPermanent
from earnest.providers.base import (
    BalanceKind,
    BalanceTransaction,
    DisputeLine,
    DisputeState,
    ProviderDispute,
)
from earnest.providers.stripe_line import StripeCaller, answered, read
from earnest.providers.stripe_units import from_stripe

PAGE_LINES = 100

log = logging.getLogger(__name__)

_DISPUTE_ID = re.compile(r"(?:dp|du)_[A-Za-z0-9_]{1,250}")

_STATES = {
    "warning_needs_response": DisputeState.WARNING,
    "warning_under_review": DisputeState.WARNING,
    # What the bank asked led to nothing, or was settled before it began.
    "warning_closed": DisputeState.WON,
    "prevented": DisputeState.WON,
    "needs_response": DisputeState.OPEN,
    "appeal_needs_response": DisputeState.OPEN,
    "under_review": DisputeState.REVIEW,
    "appeal_under_review": DisputeState.REVIEW,
    "won": DisputeState.WON,
    "lost": DisputeState.LOST,
}
_WANTS_EVIDENCE = {"warning_needs_response", "needs_response", "appeal_needs_response"}

# docs.stripe.com/reports/reporting-categories: `adjustment` is told apart by its category only.
_BY_CATEGORY = {
    "dispute": BalanceKind.CHARGEBACK,
    "dispute_reversal": BalanceKind.CHARGEBACK_RETURNED,
    "refund_failure": BalanceKind.REFUND_RETURNED,
    "fee": BalanceKind.FEE,
}
_BY_TYPE = {
    "charge": BalanceKind.CHARGE,
    "payment": BalanceKind.CHARGE,
    "refund": BalanceKind.REFUND,
    "payment_refund": BalanceKind.REFUND,
    "refund_failure": BalanceKind.REFUND_RETURNED,
    "transfer": BalanceKind.TRANSFER,
    "transfer_refund": BalanceKind.TRANSFER_RETURNED,
    "transfer_cancel": BalanceKind.TRANSFER_RETURNED,
    "transfer_failure": BalanceKind.TRANSFER_RETURNED,
    "stripe_fee": BalanceKind.FEE,
    "stripe_fx_fee": BalanceKind.FEE,
    "tax_fee": BalanceKind.FEE,
    "payout": BalanceKind.BANK,
    "payout_cancel": BalanceKind.BANK,
    "payout_failure": BalanceKind.BANK,
    "topup": BalanceKind.BANK,
    "topup_reversal": BalanceKind.BANK,
}


class _Line(msgspec.Struct, frozen=True):
    id: str
    amount: int
    fee: int
    currency: str


class _Evidence(msgspec.Struct, frozen=True):
    due_by: int | None = None


class _Dispute(msgspec.Struct, frozen=True):
    id: str
    livemode: bool
    amount: int
    currency: str
    charge: str
    payment_intent: str | None
    reason: str
    status: str
    evidence_details: _Evidence
    balance_transactions: list[_Line]


class _Source(msgspec.Struct, frozen=True):
    id: str
    payment_intent: str | None = None


class _Transaction(msgspec.Struct, frozen=True):
    id: str
    type: str
    reporting_category: str
    amount: int
    fee: int
    currency: str
    created: int
    available_on: int
    source: _Source | str | None


class StripeBooks(StripeCaller):
    """The part of the provider that reads."""

    async def find_dispute(self, dispute_id: str) -> ProviderDispute | None:
        """See `Provider.find_dispute`."""
        if not _DISPUTE_ID.fullmatch(dispute_id):
            return None
        async with answered():
            try:
                answer = await self._client.v1.disputes.retrieve_async(dispute_id)
            except stripe.InvalidRequestError as error:
                if error.code == "resource_missing":
                    return None
                raise
            return self._dispute(read(answer, _Dispute))

    def _dispute(self, dispute: _Dispute) -> ProviderDispute:
        """Raises KeyError for a status that is none, ProviderPermanent for another mode or for
        money that was taken in another currency."""
        currency = dispute.currency.upper()
        self._require_mode(dispute.livemode)
        if any(line.currency.upper() != currency for line in dispute.balance_transactions):
            log.error("Stripe took a dispute's money in another currency than the payment's")
            raise ProviderPermanent("This dispute is settled in another currency.")
        due_by = dispute.evidence_details.due_by
        wants = dispute.status in _WANTS_EVIDENCE and due_by is not None
        return ProviderDispute(
            id=dispute.id,
            payment_id=dispute.payment_intent or dispute.charge,
            state=_STATES[dispute.status],
            amount_minor=from_stripe(dispute.amount, currency),
            currency=currency,
            reason=dispute.reason,
            evidence_due_at=datetime.fromtimestamp(due_by or 0, UTC) if wants else None,
            lines=tuple(
                DisputeLine(
                    line.id, from_stripe(line.amount, currency), from_stripe(line.fee, currency)
                )
                for line in dispute.balance_transactions
            ),
        )

    async def balance_transactions(
        self, since: datetime, until: datetime
    ) -> AsyncIterator[BalanceTransaction]:
        """See `Provider.balance_transactions`; newest first."""
        created = {"gte": math.ceil(since.timestamp()), "lt": math.ceil(until.timestamp())}
        after: str | None = None
        while True:
            async with answered():
                page = await self._client.v1.balance_transactions.list_async(
                    {
                        "created": {"gte": created["gte"], "lt": created["lt"]},
                        "limit": PAGE_LINES,
                        "expand": ["data.source"],
                        **({"starting_after": after} if after else {}),
                    }
                )
                lines = [_line(read(answer, _Transaction)) for answer in page.data]
                has_more = page.has_more is True
            # With no call under way: whoever reads may take their time.
            for line in lines:
                yield line
            if not has_more or not lines:
                return
            after = lines[-1].id


def _line(line: _Transaction) -> BalanceTransaction:
    currency = line.currency.upper()
    kind = _BY_TYPE.get(line.type) or _BY_CATEGORY.get(line.reporting_category, BalanceKind.OTHER)
    source = line.source
    source_id = source.id if isinstance(source, _Source) else source or ""
    if kind is BalanceKind.CHARGE and isinstance(source, _Source):
        source_id = source.payment_intent or source.id
    return BalanceTransaction(
        id=line.id,
        kind=kind,
        type=line.type,
        amount_minor=from_stripe(line.amount, currency),
        fee_minor=from_stripe(line.fee, currency),
        currency=currency,
        source_id=source_id,
        created_at=datetime.fromtimestamp(line.created, UTC),
        available_at=datetime.fromtimestamp(line.available_on, UTC),
    )
