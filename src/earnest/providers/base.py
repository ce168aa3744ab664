"""What Earnest asks of a payment provider.

A **checkout session** is a page of the provider's where a payer pays one amount once; a **refund**
gives it back. A **payout account** is where somebody is paid: a **transfer** brings money from our
balance to theirs, a **payout** from there to their bank, and what cannot be paid out **returns** to
ours. Invariant: every call carries an idempotency key of ours, and what it made can be looked up by
our `reference`; so an outcome that nobody knows is looked up, and never guessed.
"""

from collections.abc import AsyncIterator
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

    `reference` is our own id of the refund, by which it is looked up; the same `idempotency_key` is
    the same refund.
    """

    idempotency_key: str
    reference: str
    payment_id: str
    amount_minor: int
    currency: str


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


# -- paying people --------------------------------------------------------------------------


class AccountRequest(msgspec.Struct, frozen=True):
    """Somebody to be paid: `reference` is our own id of them, and the idempotency key.

    `country` is ISO 3166-1 alpha-2; an empty `email` or `name` is not told to the provider.
    """

    reference: str
    email: str
    name: str
    country: str
    is_company: bool


class PayoutAccount(msgspec.Struct, frozen=True):
    """`is_payable`: money that is sent there can be paid out. `lacks`: the provider's own words for
    what its owner still has to hand in, machine-readable and without personal data."""

    id: str
    is_payable: bool
    lacks: tuple[str, ...] = ()


class OnboardingLink(msgspec.Struct, frozen=True):
    """A page of the provider's where an account's owner says who they are and where to pay. It is
    for them alone and opens once, before `expires_at` in business time."""

    url: str
    expires_at: datetime


class TransferRequest(msgspec.Struct, frozen=True):
    """Money from our balance to a payout account's; `reference` is our id of the payout."""

    idempotency_key: str
    reference: str
    account_id: str
    amount_minor: int
    currency: str


class ProviderTransfer(msgspec.Struct, frozen=True):
    """A transfer as the provider knows it; `returned_minor` of it has come back to us."""

    id: str
    amount_minor: int
    currency: str
    returned_minor: int


class ReturnRequest(msgspec.Struct, frozen=True):
    """All of a transfer back from the payout account to our balance."""

    idempotency_key: str
    reference: str
    transfer_id: str
    amount_minor: int
    currency: str


class PayoutRequest(msgspec.Struct, frozen=True):
    """Money from a payout account to its owner's bank; `reference` is our id of the payout."""

    idempotency_key: str
    reference: str
    account_id: str
    amount_minor: int
    currency: str


class ProviderPayoutState(StrEnum):
    """PENDING: on its way; PAID: the bank has it, though a bank may send it back for days
    afterwards, and then it is FAILED: the money is in the payout account again."""

    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"


class ProviderPayout(msgspec.Struct, frozen=True):
    """A payout as the provider knows it now. `failure` is its machine-readable word for why."""

    id: str
    state: ProviderPayoutState
    amount_minor: int
    currency: str
    failure: str = ""


# -- what payers' banks take back -----------------------------------------------------------


class DisputeState(StrEnum):
    """WARNING: the bank only asks, and has taken nothing; OPEN: evidence is wanted, REVIEW: it was
    handed in; for ever won or lost."""

    WARNING = "warning"
    OPEN = "open"
    REVIEW = "review"
    WON = "won"
    LOST = "lost"


class DisputeLine(msgspec.Struct, frozen=True):
    """What a dispute has done to our balance: negative when it was taken, positive when given
    back. `id` is that of the balance transaction; its fee is not part of the amount."""

    id: str
    amount_minor: int
    fee_minor: int


class ProviderDispute(msgspec.Struct, frozen=True):
    """A dispute as the provider knows it now. `payment_id` as in events; `reason` is the bank's
    machine-readable word; `evidence_due_at` is real time, None when there is nothing to hand in."""

    id: str
    payment_id: str
    state: DisputeState
    amount_minor: int
    currency: str
    reason: str
    evidence_due_at: datetime | None
    lines: tuple[DisputeLine, ...]


# -- what the provider's own books say ------------------------------------------------------


class BalanceKind(StrEnum):
    """Why our balance at the provider changed. BANK is between that balance and our own bank
    account; OTHER is whatever Earnest never causes."""

    CHARGE = "charge"
    REFUND = "refund"
    REFUND_RETURNED = "refund_returned"
    TRANSFER = "transfer"
    TRANSFER_RETURNED = "transfer_returned"
    CHARGEBACK = "chargeback"
    CHARGEBACK_RETURNED = "chargeback_returned"
    FEE = "fee"
    BANK = "bank"
    OTHER = "other"


class BalanceTransaction(msgspec.Struct, frozen=True):
    """One line of the provider's books about our balance, in minor units of `currency`.

    `amount_minor` is gross and signed: positive into our balance. `fee_minor` came off as well.
    `source_id` is the refund, transfer, return, dispute or payout, for a charge the payment (what
    events call `payment_id`). `type` is the provider's own word. `created_at` is real time.
    """

    id: str
    kind: BalanceKind
    type: str
    amount_minor: int
    fee_minor: int
    currency: str
    source_id: str
    created_at: datetime
    available_at: datetime


# -- the interface --------------------------------------------------------------------------


class Provider(Protocol):
    """A payment provider. Every method raises ProviderTransient when nothing happened and a
    repetition may help, ProviderUnknown when it may have happened: look it up."""

    def can_collect(self, amount_minor: int, currency: str) -> bool:
        """Whether it can charge exactly this: some have no such currency, or no such fractions."""
        ...

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

        It is known by its reference.
        """
        ...

    @property
    def needs_onboarding(self) -> bool:
        """Whether people have to visit an onboarding link before they can be paid."""
        ...

    async def create_account(self, request: AccountRequest) -> PayoutAccount:
        """The payout account of `request.reference`, made now unless it exists.

        Raises ProviderPermanent when the request is refused (a country without payouts).
        """
        ...

    async def find_account(self, account_id: str) -> PayoutAccount | None:
        """How a payout account stands, None if the provider does not know it."""
        ...

    async def create_onboarding_link(
        self, account_id: str, *, return_url: str, refresh_url: str
    ) -> OnboardingLink:
        """A new link; `refresh_url` is where its visitors go once it is used up or too old.

        Raises ProviderPermanent for an account that is unknown.
        """
        ...

    async def create_transfer(self, request: TransferRequest) -> ProviderTransfer:
        """The transfer of `request.idempotency_key`, made now unless it exists.

        Raises ProviderPermanent when it is refused (an account that is unknown or may not be paid),
        ProviderTransient, with a spent key, while our balance is too small.
        """
        ...

    async def find_transfer(self, request: TransferRequest) -> ProviderTransfer | None:
        """The transfer with this reference, None if there is none."""
        ...

    async def return_transfer(self, request: ReturnRequest) -> ProviderTransfer:
        """The transfer, returned: all of it, now unless it was.

        Raises ProviderPermanent when it is refused, ProviderTransient, with a spent key, while the
        account's balance is too small for it.
        """
        ...

    async def create_payout(self, request: PayoutRequest) -> ProviderPayout:
        """The payout of `request.idempotency_key`, begun now unless it exists.

        Raises ProviderPermanent when it is refused (no bank account in that currency),
        ProviderTransient, with a spent key, while the account's balance is too small.
        """
        ...

    async def find_payout(self, request: PayoutRequest) -> ProviderPayout | None:
        """The payout with this reference, the last one made, None if there is none."""
        ...

    async def find_dispute(self, dispute_id: str) -> ProviderDispute | None:
        """How a dispute stands, None if the provider does not know it."""
        ...

    def balance_transactions(
        self, since: datetime, until: datetime
    ) -> AsyncIterator[BalanceTransaction]:
        """Every change of our balance created from `since` to before `until`, real time, oldest
        or newest first. Raises ProviderTransient or ProviderUnknown: begin again."""
        ...

    async def close(self) -> None:
        """Let go of all connections; nothing is asked of it afterwards."""
        ...
