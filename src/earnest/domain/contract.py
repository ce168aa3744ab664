"""The contract: an aggregate of four small state machines.

    agreement  draft, pending, accepted, rejected, expired, cancelled, terminated
    work       not_started, started, ongoing, delivered, completed
    money      per tranche: unfunded, awaiting_payment, held, release_requested, released,
               refund_pending, refunded, split
    dispute    none, open, resolved

A contract has at least one tranche; a milestone is a tranche. Who may do what in which state
stands in one table, `earnest.domain.rules.RULES`. The verbs are pure functions in
`earnest.domain.verbs`; each returns a `Change`.
"""

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

from earnest.domain.audit import Event, canonical, genesis, link
from earnest.domain.business import MARKETPLACE, CancellationTier
from earnest.domain.money import CURRENCIES, share_bps, to_number
from earnest.domain.party import Actor
from earnest.domain.pricing import Line, PricedTranche
from earnest.ids import Ids, PublicId


class Agreement(StrEnum):
    DRAFT = "draft"
    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"


LIVE = frozenset({Agreement.DRAFT, Agreement.PENDING, Agreement.ACCEPTED})


class Work(StrEnum):
    NOT_STARTED = "not_started"
    STARTED = "started"
    ONGOING = "ongoing"
    DELIVERED = "delivered"
    COMPLETED = "completed"


class Money(StrEnum):
    """Where a tranche's money is."""

    UNFUNDED = "unfunded"
    AWAITING_PAYMENT = "awaiting_payment"
    HELD = "held"
    RELEASE_REQUESTED = "release_requested"
    RELEASED = "released"
    REFUND_PENDING = "refund_pending"
    REFUNDED = "refunded"
    SPLIT = "split"


HOLDING = frozenset({Money.HELD, Money.RELEASE_REQUESTED, Money.REFUND_PENDING})
"""The states in which a tranche's held account is not empty."""

SETTLED = frozenset({Money.RELEASED, Money.REFUNDED, Money.SPLIT})
"""The states in which it is empty again, for good."""


class Dispute(StrEnum):
    NONE = "none"
    OPEN = "open"
    RESOLVED = "resolved"


class Milestone(msgspec.Struct, frozen=True):
    """What a tranche is for. `due_date` is as it was sent, an instant in UTC."""

    id: int
    name: str
    description: str
    due_date: str


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the parties agreed to, priced; written once and never changed.

    The policies are part of it: a business that changes them does so for contracts to come, not
    for people who already agreed. There are as many milestones as tranches, or none.
    """

    title: str
    tranches: tuple[PricedTranche, ...]
    cancellation_policy: tuple[CancellationTier, ...]
    retention_bps: int = 0
    milestones: tuple[Milestone, ...] = ()
    service_type: str = ""
    description: str | None = None
    notes: str | None = None
    reference: str | None = None
    metadata: dict[str, str] | None = None
    callback_url: str = ""


class Contract(msgspec.Struct, frozen=True):
    """One contract at one version. Amounts are minor units of `currency`."""

    key: int
    public_id: PublicId
    business: int
    number: str
    buyer: int
    seller: int
    job: int | None
    currency: str
    amount_minor: int
    created_at: datetime
    terms: Terms
    # from here on: what verbs change
    version: int
    commit_id: int
    updated_at: datetime
    agreement: Agreement = Agreement.PENDING
    work: Work = Work.NOT_STARTED
    dispute: Dispute = Dispute.NONE
    tranches: tuple[Money, ...] = (Money.UNFUNDED,)
    funded_at: datetime | None = None
    settled_at: datetime | None = None
    started_at: datetime | None = None
    ongoing_at: datetime | None = None
    completed_at: datetime | None = None
    cancelled_at: datetime | None = None
    cancelled_by: str | None = None
    cancelled_work: Work | None = None
    cancel_reason: str = ""
    cancel_reason_description: str = ""
    refund_requested_at: datetime | None = None
    unclaimed: bool = False
    """A payment created this contract and its client has not yet asked for it (D2)."""
    charged_back: bool = False
    """The buyer's bank wants the money back, and that is undecided: none of it goes anywhere."""
    event_seq: int = 0
    event_head: bytes = b""

    @property
    def is_partners(self) -> bool:
        """Whether it is of a business other than the marketplace, with that face's words."""
        return self.business != MARKETPLACE

    @property
    def live(self) -> bool:
        return self.agreement in LIVE

    @property
    def money(self) -> Money:
        """The money state of a contract without milestones."""
        return self.tranches[0]

    @property
    def funded(self) -> bool:
        """Whether the buyer's money ever arrived; it stays true after release and refund.

        All tranches are funded at once."""
        return self.tranches[0] not in (Money.UNFUNDED, Money.AWAITING_PAYMENT)

    @property
    def payable(self) -> bool:
        """Whether its buyer can pay now."""
        return self.live and self.tranches.count(Money.UNFUNDED) == len(self.tranches)

    @property
    def settled(self) -> bool:
        """Whether all money that arrived has gone where it belongs."""
        return SETTLED.issuperset(self.tranches)

    @property
    def charge_minor(self) -> int:
        """What the buyer pays in, all tranches together."""
        return sum(tranche.charge_minor for tranche in self.terms.tranches)

    def major(self, minor: int) -> int | Decimal:
        """Minor units of its currency as the JSON number that events and answers tell."""
        return to_number(minor, CURRENCIES[self.currency])

    def with_tranche(self, index: int, state: Money) -> tuple[Money, ...]:
        return (*self.tranches[:index], state, *self.tranches[index + 1 :])

    def with_tranches(self, indexes: Collection[int], state: Money) -> tuple[Money, ...]:
        return tuple(state if i in indexes else now for i, now in enumerate(self.tranches))

    def holding(self, *states: Money) -> tuple[int, ...]:
        """The indexes of the tranches in one of `states`."""
        return tuple(i for i, state in enumerate(self.tranches) if state in states)


class Shares(msgspec.Struct, frozen=True):
    """Who gets what of a held tranche; the three parts sum to it exactly."""

    buyer_minor: int
    seller_minor: int
    lines: tuple[Line, ...]


def cancellation_shares(terms: Terms, tranche: int, work: Work) -> Shares:
    """The parts of a held tranche when the contract was cancelled at `work` (D7, spec 3.4).

    The fees stay paid; of the earning (what a release would leave the seller) the seller keeps
    the tier's share, half up, and the rest of the charge goes back to the buyer. With the
    marketplace's plan, 50,000.00 cancelled at Started is 5,000.00 fee, 6,750.00 to the seller
    and 38,250.00 to the buyer; 99.99 is 10.00, 13.50 and 76.49.
    """
    priced = terms.tranches[tranche]
    tiers = {tier.work: tier.seller_bps for tier in terms.cancellation_policy}
    seller_minor = share_bps(priced.net_minor, tiers[work])
    buyer_minor = priced.charge_minor - priced.fees_minor - seller_minor
    return Shares(buyer_minor, seller_minor, priced.lines)


def record(
    contract: Contract,
    actor: Actor,
    now: datetime,
    ids: Ids,
    *happened: tuple[str, dict[str, object]],
) -> tuple[Contract, tuple[Event, ...]]:
    """`contract` one version on, with `happened` (type, body) appended to its chain.

    The commit is named by its first event, so `commit_id` is that event's key.
    """
    now = max(now, contract.updated_at)
    seq, head = contract.event_seq, contract.event_head or genesis(contract.public_id)
    subject, name = f"contract:{contract.public_id}", actor.name
    events: list[Event] = []
    commit_id = 0
    for type_, body in happened:
        key = ids.new_entry()
        commit_id = commit_id or key
        seq += 1
        text = canonical(body)
        head = link(head, seq, now, type_, name, text)
        events.append(
            Event(key, commit_id, subject, type_, name, now, text, contract.key, seq, head)
        )
    after = msgspec.structs.replace(
        contract,
        version=contract.version + 1,
        commit_id=commit_id,
        updated_at=now,
        event_seq=seq,
        event_head=head,
    )
    return after, tuple(events)
