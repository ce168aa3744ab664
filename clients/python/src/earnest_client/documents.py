"""What the API answers, as structs. Amounts are Decimals in major units; times know their zone.

Invariant: a struct names all that this version knows; what a later server adds is passed over,
and a value that is new (a status, a type) is only another text.
"""

from datetime import datetime
from decimal import Decimal

import msgspec


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An answer, or a part of one."""


class Paged(Document, frozen=True, kw_only=True):
    """What all pages say of themselves."""

    page: int
    page_size: int


# -- contracts --------------------------------------------------------------------------------


class Party(Document, frozen=True):
    """A buyer or a seller."""

    platform_ref_id: str
    first_name: str
    last_name: str
    phone_number: str


class ChargeLine(Document, frozen=True):
    """One charge; `order` 6 is for information: what the seller gets of it all."""

    id: str
    line_type: str
    role: str
    amount: Decimal
    order: int
    description: str | None = None


class Milestone(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A part of a contract; `amount` is with all fees and taxes."""

    id: int
    name: str
    description: str
    due_date: datetime
    amount: Decimal
    pricing_line_items: list[ChargeLine]
    status: str


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """Four texts of your own."""

    metadata1: str = ""
    metadata2: str = ""
    metadata3: str = ""
    metadata4: str = ""


class Transaction(Document, frozen=True):
    """Money that came from the buyer (payment) or went to one of the two (release, refund)."""

    id: str
    type: str
    amount: Decimal
    currency: str
    milestone_id: int | None
    created_date: datetime


class Checkout(Document, frozen=True):
    """Where the buyer pays, until `expires_at`."""

    url: str
    token: str
    expires_at: datetime


class Settlement(Document, frozen=True):
    """funded = held + released_to_seller + refunded_to_buyer + fees + taxes."""

    currency: str
    funded: Decimal
    held: Decimal
    released_to_seller: Decimal
    refunded_to_buyer: Decimal
    fees: Decimal
    taxes: Decimal


class ContractMade(Document, frozen=True):
    """A contract just made."""

    contract_id: str
    status: str
    contract_service_type: str
    checkout_url: str
    buyer_party: Party
    seller_party: Party
    reference: str | None
    meta_data: Metadata | None
    milestones: list[Milestone]
    pricing_line_items: list[ChargeLine]
    created_date: datetime
    checkout: Checkout


class ContractListed(Document, frozen=True):
    """A contract in a list; `amount` is its base, before all fees."""

    id: str
    contract_id: str
    reference: str | None
    title: str
    status: str
    contract_service_type: str
    buyer_party: Party
    seller_party: Party
    created_date: datetime
    updated_date: datetime
    amount: Decimal


class Contract(ContractListed, frozen=True):
    """All of a contract; `checkout` is a fresh link as long as it can be paid."""

    description: str | None
    notes: str | None
    business_name: str
    meta_data: Metadata | None
    milestones: list[Milestone]
    pricing_line_items: list[ChargeLine]
    transactions: list[Transaction]
    checkout: Checkout | None
    settlement: Settlement


class ContractPage(Paged, frozen=True):
    """Newest first; `total_count` counts to 10,000 at most."""

    contracts: list[ContractListed]
    total_count: int

    @property
    def entries(self) -> list[ContractListed]:
        """Its contracts."""
        return self.contracts


class TrailEvent(Document, frozen=True):
    """One event of a contract's hash chain; `body` is the JSON text that `hash` covers, together
    with `previous_hash` and all the others (`verify_events`)."""

    sequence: int
    recorded_date: datetime
    type: str
    actor: str
    body: str
    previous_hash: str
    hash: str

    @property
    def id(self) -> int:
        """Its sequence number."""
        return self.sequence


class TrailPage(Paged, frozen=True):
    """Oldest first."""

    events: list[TrailEvent]

    @property
    def entries(self) -> list[TrailEvent]:
        """Its events."""
        return self.events


# -- money ------------------------------------------------------------------------------------


class CheckoutStarted(Document, frozen=True):
    """A fresh link for the buyer."""

    checkout_url: str
    checkout: Checkout


class Release(Document, frozen=True):
    """`amount` is what the seller got."""

    transaction_id: int
    amount: Decimal
    contract_id: str


class Refund(Document, frozen=True):
    """A refund that has begun. `type` is FullRefund or PartialRefund."""

    refund_id: int
    settlement_id: int | None
    milestone_id: int | None
    refunded_amount: Decimal
    released_to_seller_amount: Decimal | None
    type: str
    external_contract_id: str


class Transfer(Document, frozen=True):
    """One row of the ledger; accounts by name."""

    movement: str
    debit: str
    credit: str
    amount: Decimal
    recorded_date: datetime


class ProviderAccount(Document, frozen=True):
    """At which payment provider; `livemode` is false in its test mode."""

    provider: str
    livemode: bool


class ProviderObject(Document, frozen=True):
    """What the payment provider has: `type` is checkout_session, payment, refund or chargeback,
    `id` its own. `amount` is None until the provider was asked."""

    type: str
    id: str
    account: ProviderAccount
    amount: Decimal | None
    currency: str
    status: str
    at: datetime


class Proof(Document, frozen=True):
    """funded = to_seller + to_buyer + fees + tax + held, by the ledger alone; `holds` says so."""

    contract_id: str
    currency: str
    funded: Decimal
    to_seller: Decimal
    to_buyer: Decimal
    fees: Decimal
    tax: Decimal
    held: Decimal
    holds: bool
    transfers: list[Transfer]
    provider: list[ProviderObject] = []


# -- users ------------------------------------------------------------------------------------


class HostedPage(Document, frozen=True):
    """A page of ours for one of your users, until `expires_at`."""

    url: str
    token: str
    expires_at: datetime


class User(Document, frozen=True):
    """A user of yours; on `kyc.url` they prove who they are."""

    platform_ref_id: str
    kyc_url: str
    kyc: HostedPage


class Onboarding(Document, frozen=True):
    """How far a user has come, and a new link to go on with."""

    platform_ref_id: str
    onboarding_completed: bool
    is_verified: bool
    kyc_completed: bool
    is_bank_account_ready: bool
    onboarding_url: str
    onboarding: HostedPage


# -- webhooks ---------------------------------------------------------------------------------


class Webhook(Document, frozen=True):
    """`secret_key` is whole when it is made, and later only how it ends."""

    id: str
    webhook_url: str
    secret_key: str
    is_active: bool
    consecutive_failures: int
    last_success_at: datetime | None
    last_failure_at: datetime | None
    created_at: datetime


class WebhookSecret(Document, frozen=True):
    """A new secret, shown this once."""

    secret_key: str


class WebhookTest(Document, frozen=True):
    """`webhook_id` is what the delivery will carry."""

    webhook_id: str
    message: str


class Attempt(Document, frozen=True):
    """One attempt to reach you. `contract_id` is a number of the server's own; the contract as
    you know it is `external_contract_id`. `webhook_id` is the delivery's id."""

    id: str
    webhook_id: str
    event_type: str
    external_contract_id: str | None
    contract_id: int | None
    http_status_code: int | None
    is_success: bool
    attempt_number: int
    error_message: str | None
    duration_ms: int
    created_at: datetime


class AttemptPage(Paged, frozen=True):
    """Newest first."""

    logs: list[Attempt]
    total_count: int

    @property
    def entries(self) -> list[Attempt]:
        """Its attempts."""
        return self.logs


class Delivery(Document, frozen=True):
    """One event on its way to you: `status` is pending, succeeded or failed."""

    id: str
    event: str
    contract_id: str | None
    status: str
    series: int
    attempts: int
    failed_for: str | None
    next_attempt_at: datetime | None
    created_at: datetime
    ended_at: datetime | None


class DeliveryPage(Paged, frozen=True):
    """Newest first."""

    deliveries: list[Delivery]
    total_count: int

    @property
    def entries(self) -> list[Delivery]:
        """Its deliveries."""
        return self.deliveries


class Replayed(Document, frozen=True):
    """How many events are on their way again."""

    replayed: int


# -- keys -------------------------------------------------------------------------------------


class Jwk(msgspec.Struct, frozen=True, kw_only=True):
    """A public key of the server's (RFC 7517)."""

    kid: str
    kty: str
    n: str = ""
    e: str = ""


class JwkSet(msgspec.Struct, frozen=True):
    """The keys that the server signs with, now and lately."""

    keys: list[Jwk]
