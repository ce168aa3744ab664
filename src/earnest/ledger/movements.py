"""From movements to transfers: where the money goes, one function per movement.

A transfer moves one amount from its debit to its credit account, so every set of transfers is
balanced by construction. Lines of zero post nothing.
"""

from datetime import datetime
from functools import singledispatch

import msgspec

from earnest.domain.change import Change
from earnest.domain.movement import (
    Attached,
    Booked,
    ChargebackCovered,
    ChargebackReturned,
    ChargedBack,
    Funded,
    Movement,
    PaidOut,
    Parked,
    ParkedCovered,
    ParkedRefunded,
    PayoutRefused,
    PayoutReturned,
    Refunded,
    RefundedToSource,
    RefundRepaid,
    RefundReturned,
    Released,
    Withdrawn,
)
from earnest.domain.pricing import Line, Payee
from earnest.ids import Ids
from earnest.ledger.accounts import (
    Kind,
    held,
    pack,
    provider_cash,
    refunds_in_transit,
    suspense,
    wallet,
)


class Posting(msgspec.Struct, frozen=True):
    """One debit and one credit of `amount_minor`, before it has a key and a time."""

    debit: int
    credit: int
    amount_minor: int


class Transfer(msgspec.Struct, frozen=True):
    """One row of the ledger."""

    key: int
    commit_id: int
    movement: str
    debit: int
    credit: int
    amount_minor: int
    contract: int | None
    payment: int | None
    occurred_at: datetime
    recorded_at: datetime


PAYEE_KIND = {
    Payee.ESCROW_FEE_INCOME: Kind.ESCROW_FEE_INCOME,
    Payee.PLATFORM_FEE_INCOME: Kind.PLATFORM_FEE_INCOME,
    Payee.TAX_PAYABLE: Kind.TAX_PAYABLE,
    Payee.PARTNER_PAYABLE: Kind.PARTNER_PAYABLE,
}

MOVEMENT_NAME: dict[type, str] = {
    Funded: "funded",
    Parked: "parked",
    Attached: "attached",
    ParkedRefunded: "parked_refunded",
    Released: "released",
    Refunded: "refunded",
    RefundedToSource: "refunded_to_source",
    RefundReturned: "refund_returned",
    RefundRepaid: "refund_repaid",
    Withdrawn: "withdrawn",
    PaidOut: "paid_out",
    PayoutRefused: "payout_refused",
    PayoutReturned: "payout_returned",
    ChargedBack: "charged_back",
    ChargebackReturned: "chargeback_returned",
    ChargebackCovered: "chargeback_covered",
    ParkedCovered: "parked_covered",
    Booked: "booked",
}


@singledispatch
def postings(movement: Movement) -> list[Posting]:
    """The debits and credits of one movement."""
    raise TypeError(f"no postings for {movement!r}")


@postings.register
def _(movement: Funded) -> list[Posting]:
    source = provider_cash(movement.currency, movement.provider_account)
    target = held(movement.currency, movement.contract, movement.tranche)
    return [Posting(source, target, movement.amount_minor)]


@postings.register
def _(movement: Parked) -> list[Posting]:
    source = provider_cash(movement.currency, movement.provider_account)
    target = suspense(movement.currency, movement.provider_account)
    return [Posting(source, target, movement.amount_minor)]


@postings.register
def _(movement: Attached) -> list[Posting]:
    source = suspense(movement.currency, movement.provider_account)
    target = held(movement.currency, movement.contract, movement.tranche)
    return [Posting(source, target, movement.amount_minor)]


@postings.register
def _(movement: ParkedRefunded) -> list[Posting]:
    source = suspense(movement.currency, movement.provider_account)
    return [Posting(source, wallet(movement.currency, movement.buyer), movement.amount_minor)]


@postings.register
def _(movement: Released) -> list[Posting]:
    source = held(movement.currency, movement.contract, movement.tranche)
    seller = Posting(source, wallet(movement.currency, movement.seller), movement.seller_minor)
    return [seller, *_lines(source, movement.business, movement.currency, movement.lines)]


@postings.register
def _(movement: Refunded) -> list[Posting]:
    source = held(movement.currency, movement.contract, movement.tranche)
    return [
        Posting(source, wallet(movement.currency, movement.buyer), movement.buyer_minor),
        Posting(source, wallet(movement.currency, movement.seller), movement.seller_minor),
        *_lines(source, movement.business, movement.currency, movement.lines),
    ]


@postings.register
def _(movement: RefundedToSource) -> list[Posting]:
    source = held(movement.currency, movement.contract, movement.tranche)
    transit = refunds_in_transit(movement.currency, movement.provider_account)
    cash = provider_cash(movement.currency, movement.provider_account)
    return [
        Posting(source, transit, movement.buyer_minor),
        Posting(transit, cash, movement.buyer_minor),
        Posting(source, wallet(movement.currency, movement.seller), movement.seller_minor),
        *_lines(source, movement.business, movement.currency, movement.lines),
    ]


@postings.register
def _(movement: RefundReturned) -> list[Posting]:
    transit = refunds_in_transit(movement.currency, movement.provider_account)
    cash = provider_cash(movement.currency, movement.provider_account)
    return [Posting(cash, transit, movement.amount_minor)]


@postings.register
def _(movement: RefundRepaid) -> list[Posting]:
    transit = refunds_in_transit(movement.currency, movement.provider_account)
    cash = provider_cash(movement.currency, movement.provider_account)
    return [Posting(transit, cash, movement.amount_minor)]


@postings.register
def _(movement: Withdrawn) -> list[Posting]:
    return [Posting(_owned(movement), _transit(movement), movement.amount_minor)]


@postings.register
def _(movement: PaidOut) -> list[Posting]:
    cash = provider_cash(movement.currency, movement.provider_account)
    return [Posting(_transit(movement), cash, movement.amount_minor)]


@postings.register
def _(movement: PayoutRefused) -> list[Posting]:
    return [Posting(_transit(movement), _owned(movement), movement.amount_minor)]


@postings.register
def _(movement: PayoutReturned) -> list[Posting]:
    cash = provider_cash(movement.currency, movement.provider_account)
    return [
        Posting(cash, _transit(movement), movement.amount_minor),
        Posting(_transit(movement), _owned(movement), movement.amount_minor),
    ]


def _owned(movement: Withdrawn) -> int:
    if movement.party is None:
        return pack(Kind.PARTNER_PAYABLE, movement.currency, movement.business)
    return wallet(movement.currency, movement.party)


def _transit(movement: Withdrawn) -> int:
    return pack(Kind.PAYOUTS_IN_TRANSIT, movement.currency, movement.provider_account)


@postings.register
def _(movement: ChargedBack) -> list[Posting]:
    cash = provider_cash(movement.currency, movement.provider_account)
    return [Posting(source, cash, minor) for source, minor in _losers(movement)]


@postings.register
def _(movement: ChargebackReturned) -> list[Posting]:
    cash = provider_cash(movement.currency, movement.provider_account)
    return [Posting(cash, target, minor) for target, minor in _losers(movement)]


def _losers(movement: ChargedBack) -> list[tuple[int, int]]:
    return [
        (wallet(movement.currency, movement.buyer), movement.buyer_minor),
        (wallet(movement.currency, movement.seller), movement.seller_minor),
        (
            _loss(movement),
            movement.amount_minor - movement.buyer_minor - movement.seller_minor,
        ),
    ]


@postings.register
def _(movement: ChargebackCovered) -> list[Posting]:
    source = held(movement.currency, movement.contract, movement.tranche)
    return [Posting(source, _loss(movement), movement.amount_minor)]


@postings.register
def _(movement: ParkedCovered) -> list[Posting]:
    source = suspense(movement.currency, movement.provider_account)
    return [Posting(source, _loss(movement), movement.amount_minor)]


def _loss(movement: ChargedBack | ChargebackCovered | ParkedCovered) -> int:
    return pack(Kind.CHARGEBACK_LOSS, movement.currency, movement.provider_account)


@postings.register
def _(movement: Booked) -> list[Posting]:
    kind = {"fee": Kind.PROVIDER_FEES, "bank": Kind.OWN_BANK}[movement.kind]
    ours = pack(kind, movement.currency, movement.provider_account)
    cash = provider_cash(movement.currency, movement.provider_account)
    if movement.amount_minor < 0:
        return [Posting(cash, ours, -movement.amount_minor)]
    return [Posting(ours, cash, movement.amount_minor)]


def _lines(source: int, business: int, currency: str, lines: tuple[Line, ...]) -> list[Posting]:
    return [
        Posting(source, pack(PAYEE_KIND[line.payee], currency, business), line.amount_minor)
        for line in lines
    ]


def _contract(change: Change) -> int | None:
    if change.contract is not None:
        return change.contract.key
    return change.chargeback.contract if change.chargeback is not None else None


def _payment(change: Change) -> int | None:
    if change.payment is not None:
        return change.payment.key
    return change.chargeback.payment if change.chargeback is not None else None


def expand(change: Change, ids: Ids) -> tuple[Transfer, ...]:
    """The transfers of a change's movements, in order, ready to be written."""
    return tuple(
        Transfer(
            key=ids.new_entry(),
            commit_id=change.commit_id,
            movement=MOVEMENT_NAME[type(movement)],
            debit=posting.debit,
            credit=posting.credit,
            amount_minor=posting.amount_minor,
            contract=_contract(change),
            payment=_payment(change),
            occurred_at=change.occurred_at,
            recorded_at=change.recorded_at,
        )
        for movement in change.movements
        for posting in postings(movement)
        if posting.amount_minor > 0
    )
