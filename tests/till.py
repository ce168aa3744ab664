"""A partner's contract in values alone: everything that may be done with it, and its own ledger.

till = Till.open(business, bases)       priced and created, nothing paid
till.fund(); till.act("release", milestone=0); till.settle()
till.look()                             every check that there is of contracts and their money

`act` says what the domain says: "ok" or the name of the refusal, which has changed nothing.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import msgspec

from earnest.domain import hiring, partner, returning, verbs
from earnest.domain.audit import Event
from earnest.domain.business import Business
from earnest.domain.capture import Situation, take_capture
from earnest.domain.change import Change
from earnest.domain.contract import Contract, Money
from earnest.domain.history import check_chain, replay
from earnest.domain.money import CURRENCIES
from earnest.domain.partner import Draft, Stage
from earnest.domain.partner_history import settled_parts
from earnest.domain.partner_settings import Wanted, new_settings
from earnest.domain.party import SYSTEM, Actor, Member, Role
from earnest.domain.payment import Capture, CaptureKind, Payment, PaymentState
from earnest.domain.refund import Refund, RefundKind, RefundState
from earnest.errors import EarnestError
from earnest.ids import Ids, PublicId
from earnest.ledger.accounts import held
from earnest.ledger.movements import Transfer, expand
from earnest.ledger.proof import Proof, prove
from earnest.ledger.settled import check_money
from earnest.partner import documents
from earnest.partner.charges import LineShown, charges
from earnest.partner.documents import SettlementShown
from earnest.store.partners import MONEY_MOVED, Brokered, Moved

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
BROKER = Actor(Role.PARTNER, 7, PublicId(""), 1)
RIVAL = Actor(Role.PARTNER, 8, PublicId(""), 1)
OLGA = Actor(Role.ADMIN, 5, PublicId("0" * 24), 1)
VERBS = (
    *("approve", "reject", "deliver", "receive", "dispute", "resolve dispute", "cancel"),
    *("release", "refund"),
)
PEOPLE = ("Huda", "Omar")


def a_business(currency: str = "SAR", **wanted: Any) -> Business:
    """A partner with these settings of its operator."""
    settings = new_settings(Wanted(**wanted), CURRENCIES[currency])
    return Business(BROKER.key, "Demo Broker", currency, settings)


def member(key: int) -> Member:
    return Member(
        key=key,
        public_id=PublicId(f"{key:024x}"),
        business=BROKER.key,
        platform_ref=f"USR_{key}",
        phone=f"96650000000{key}",
        first_name=PEOPLE[key - 1],
        last_name="",
        created_at=NOW,
    )


class Till(msgspec.Struct):
    """`refunds` are all that were ever begun, at their latest version."""

    business: Business
    contract: Contract
    payment: Payment
    ids: Ids
    refunds: list[Refund] = []
    events: list[Event] = []
    transfers: list[Transfer] = []
    verified: bool = True

    @classmethod
    def open(cls, business: Business, bases_minor: Sequence[int]) -> "Till":
        """A contract over these base amounts, a milestone each if there are several."""
        keys = count(100)
        ids = Ids(lambda: next(keys), lambda: next(keys), lambda: 1, lambda: 1, lambda: 0)
        due = NOW + timedelta(days=30)
        stages = [
            Stage(f"Part {index}", "", base, due.isoformat(), due)
            for index, base in enumerate(bases_minor)
        ]
        draft = Draft(
            title="A logo",
            service_type="service",
            amount_minor=sum(bases_minor),
            description=None,
            notes=None,
            reference=None,
            metadata=None,
            callback_url="",
            stages=tuple(stages) if len(stages) > 1 else (),
        )
        change = partner.create(draft, business, member(1), member(2), (), BROKER, NOW, ids)
        assert change.contract is not None
        contract = change.contract
        payment = Payment(
            key=next(keys),
            public_id=PublicId("f" * 24),
            business=business.key,
            job=None,
            buyer=contract.buyer,
            seller=contract.seller,
            provider_account=1,
            amount_minor=contract.charge_minor,
            currency=contract.currency,
            metadata={},
            created_at=NOW,
            version=1,
            commit_id=1,
            updated_at=NOW,
            contract=contract.key,
            state=PaymentState.OPEN,
        )
        return cls(business, contract, payment, ids, events=list(change.events))

    def copy(self) -> "Till":
        """The same till, to try something with."""
        lists = {name: list(getattr(self, name)) for name in ("refunds", "events", "transfers")}
        return msgspec.structs.replace(self, **lists)

    # -- what is done -------------------------------------------------------------------------

    def act(
        self,
        verb: str,
        *,
        milestone: int | None = None,
        amount: int | None = None,
        by: str = "buyer",
        actor: Actor = BROKER,
    ) -> str:
        """Either "ok" or the name of the refusal. `milestone` is an index; a refund with an
        `amount`, in minor units, is a partial one."""
        contract, now, ids = self.contract, NOW, self.ids
        of = None if milestone is None else contract.terms.milestones[milestone].id
        before = msgspec.json.encode(contract)
        try:
            match verb:
                case "approve":
                    change = verbs.approve(contract, self.business, actor, now, ids)
                case "reject":
                    change = partner.reject(contract, actor, now, ids, "")
                case "deliver":
                    change = partner.deliver(contract, actor, now, ids, "")
                case "receive":
                    change = partner.receive(contract, actor, now, ids, "")
                case "dispute":
                    change = partner.dispute(contract, actor, now, ids, by=by, reason="")
                case "resolve dispute":
                    change = partner.resolve(contract, actor, now, ids, "")
                case "cancel":
                    paid = self._captured
                    change = returning.cancel(contract, paid, actor, now, ids, by=by, reason="")
                case "release":
                    change = partner.release(
                        contract,
                        self.business,
                        actor,
                        now,
                        ids,
                        milestone=of,
                        seller_verified=self.verified,
                    )
                case _:
                    change = returning.request(
                        contract,
                        self.business,
                        self._captured,
                        actor,
                        now,
                        ids,
                        kind=RefundKind.FULL if amount is None else RefundKind.PARTIAL,
                        milestone=of,
                        amount_minor=amount,
                        reason="",
                    )
        except EarnestError as error:
            assert msgspec.json.encode(contract) == before
            return type(error).__name__
        self._take(change)
        return "ok"

    @property
    def _captured(self) -> Payment | None:
        return self.payment if self.payment.state is PaymentState.CAPTURED else None

    def fund(self) -> str:
        """The buyer's money arrives."""
        try:
            change = hiring.fund(self.contract, self.payment, SYSTEM, NOW, self.ids, to_source=True)
        except EarnestError as error:
            return type(error).__name__
        assert change.payment is not None
        self.payment = change.payment
        self._take(change)
        return "ok"

    def hear(self, kind: CaptureKind) -> None:
        """What the buyer's bank does about the payment before any money comes: PROCESSING, FAILED,
        EXPIRED."""
        news = Capture(
            provider="sandbox",
            provider_account=self.payment.provider_account,
            event_id=f"evt_{len(self.events)}",
            type=f"checkout.session.{kind}",
            kind=kind,
            ours=True,
            occurred_at=NOW,
            payload=b"{}",
        )
        around = Situation(
            *(self.payment, self.contract, None, None),
            applied=False,
            quarantined=False,
            counted=False,
        )
        change = take_capture(news, around, self.business, NOW, self.ids)
        assert change.payment is not None
        self.payment = change.payment
        self._take(change)

    def rule(self, word: str) -> None:
        """Olga approves or declines every refund that waits for her."""
        for refund in self.in_state(RefundState.REQUESTED):
            if word == "approve":
                self._take(returning.approve(refund, OLGA, NOW, self.ids))
            else:
                self._take(returning.decline(self.contract, refund, OLGA, NOW, self.ids, "No"))

    def settle(self, most: int | None = None) -> int:
        """The provider gives `most` of the money back that is on its way; how many refunds."""
        planned = self.in_state(RefundState.PLANNED)[:most]
        for refund in planned:
            provider = f"re_{refund.key}"
            self._take(
                returning.settle(self.contract, refund, self.payment, provider, NOW, self.ids)
            )
        return len(planned)

    def in_state(self, state: RefundState) -> list[Refund]:
        return [refund for refund in self.refunds if refund.state is state]

    def _take(self, change: Change) -> None:
        if change.contract is not None:
            assert change.contract.version == self.contract.version + 1
            self.contract = change.contract
            self.events += change.events
        if change.refund is not None:
            key = change.refund.key
            self.refunds = [one for one in self.refunds if one.key != key] + [change.refund]
        self.transfers += expand(change, self.ids)

    # -- what is then true --------------------------------------------------------------------

    def look(self) -> None:
        """The checks of `earnest verify` on one contract, and that every list reconciles."""
        contract = self.contract
        assert check_chain(contract, self.events) is None
        assert replay(contract, self.events) is None
        accounts = {held(contract.currency, contract.key, i) for i in range(len(contract.tranches))}
        touching = [one for one in self.transfers if {one.debit, one.credit} & accounts]
        balances = self.balances()
        parts = settled_parts(self.events)
        held_minor = sum(balances[account] for account in accounts)
        settings = self.business.settings
        assert list(check_money(contract, settings, touching, held_minor, parts)) == []
        assert all(balances[account] >= 0 for account in accounts)
        assert sum(balances.values()) == 0
        proof = self.proof(touching, held_minor)
        assert proof.holds
        self._lists_reconcile()
        self._settlement_is(proof)

    def balances(self) -> Counter[int]:
        """Credits less debits of every account, in minor units."""
        found: Counter[int] = Counter()
        for one in self.transfers:
            found[one.credit] += one.amount_minor
            found[one.debit] -= one.amount_minor
        return found

    def proof(self, touching: Sequence[Transfer], held_minor: int) -> Proof:
        contract = self.contract
        return prove(touching, buyer=contract.buyer, seller=contract.seller, held_minor=held_minor)

    @property
    def document(self) -> Brokered:
        moved = (one for one in self.events if one.type in MONEY_MOVED)
        return Brokered(
            contract=self.contract,
            business=self.business,
            buyer=member(1),
            seller=member(2),
            payment=self._captured,
            seller_verified=self.verified,
            moved=tuple(Moved(one.key, one.type, one.recorded_at, one.body) for one in moved),
        )

    def shown(self) -> SettlementShown:
        return documents.settlement(self.document)

    def _minor(self, major: Any) -> int:
        return int(major * 10 ** CURRENCIES[self.contract.currency].exponent)

    @staticmethod
    def _lines(told: Any) -> list[LineShown]:
        return msgspec.json.decode(told, type=list[LineShown])

    def _lists_reconcile(self) -> None:
        """Milestones sum to the contract, line by line; a milestone's lines to its amount."""
        contract = self.contract
        told = charges(contract)
        milestones = documents.milestones(contract, told.milestones)
        for position, line in enumerate(self._lines(told.whole.lines)):
            if milestones:
                parts = [self._lines(one.pricing_line_items)[position] for one in milestones]
                assert sum(part.amount for part in parts) == line.amount
        for one, priced in zip(milestones, contract.terms.tranches, strict=False):
            assert self._minor(one.amount) == priced.charge_minor
            base, *others = self._lines(one.pricing_line_items)
            on_top = sum(
                self._minor(line.amount)
                for line, rule in zip(others, priced.lines, strict=False)
                if rule.payer == "buyer"
            )
            assert self._minor(base.amount) + on_top == priced.charge_minor
            assert self._minor(others[-1].amount) == priced.net_minor

    def _settlement_is(self, proof: Proof) -> None:
        """What a GET says is what the ledger says (invariants 3 and 8)."""
        told, minor = self.shown(), self._minor
        assert minor(told.funded) == proof.funded_minor
        assert minor(told.held) == proof.held_minor
        assert minor(told.released_to_seller) == proof.to_seller_minor
        assert minor(told.refunded_to_buyer) == proof.to_buyer_minor
        assert minor(told.fees) + minor(told.taxes) == proof.fees_minor + proof.tax_minor
        assert told.funded == (
            told.held + told.released_to_seller + told.refunded_to_buyer + told.fees + told.taxes
        )
        gone: Counter[str] = Counter()
        for one in documents.transactions(self.document):
            gone[one.type] += minor(one.amount)
        assert gone["payment"] == proof.funded_minor
        assert gone["release"] == proof.to_seller_minor
        assert gone["refund"] == proof.to_buyer_minor
        if self.contract.settled:
            assert proof.held_minor == 0
        assert self.contract.settled is (
            set(self.contract.tranches) <= {Money.RELEASED, Money.REFUNDED, Money.SPLIT}
        )
