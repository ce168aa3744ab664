"""A contract against the ledger: are its postings what its terms and its state demand?

`check_money` looks at one contract and at every transfer that touches its held accounts. What
is stored is not computed anew: the priced lines of the terms are what must have been posted
(invariant 8), or the shares of the cancellation policy that the parties agreed to (7).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from earnest.domain.business import Settings
from earnest.domain.contract import HOLDING, Contract, Money, cancellation_shares
from earnest.domain.history import Finding
from earnest.domain.movement import ChargebackCovered, Refunded, RefundedToSource, Released
from earnest.domain.pricing import PricedTranche, price
from earnest.domain.refund import Part, RefundKind
from earnest.domain.returning import part_of
from earnest.ledger.accounts import Kind, held, unpack
from earnest.ledger.movements import Posting, postings
from earnest.ledger.proof import Transferred, prove

Parts = Mapping[int, tuple[RefundKind, Part]]

_NOT_PAID = frozenset({Money.UNFUNDED, Money.AWAITING_PAYMENT})
_SOURCES = frozenset({Kind.PROVIDER_CASH, Kind.SUSPENSE})


def check_money(
    contract: Contract,
    priced_by: Settings | None,
    transfers: Sequence[Transferred],
    held_minor: int,
    parts: Parts | None = None,
    covering: frozenset[int] = frozenset(),
) -> Iterator[Finding]:
    """Whatever is wrong with a contract's money; `transfers` are all that touch what it holds.

    `parts` are what its events say of refunds to the source, see `partner_history.settled_parts`;
    `covering` are the tranches whose money covers a chargeback.

    `held_minor` is the running balance of its held accounts. `priced_by` are the settings of
    its business, None if they changed since: then only the chain's first event vouches for the
    quote.
    """
    yield from _check_proof(contract, transfers, held_minor)
    yield from _check_quote(contract, priced_by)
    for index in range(len(contract.tranches)):
        account = held(contract.currency, contract.key, index)
        came = [t for t in transfers if t.credit == account]
        went = [t for t in transfers if t.debit == account]
        yield from _check_funding(contract, index, came)
        if index in covering:
            yield from _check_covering(contract, index, came, went)
        elif parts and index in parts:
            yield from _check_refund(contract, index, *parts[index], came, went)
        else:
            yield from _check_outcome(contract, index, went)


def _check_proof(
    contract: Contract, transfers: Sequence[Transferred], held_minor: int
) -> Iterator[Finding]:
    proof = prove(transfers, buyer=contract.buyer, seller=contract.seller, held_minor=held_minor)
    if not proof.holds:
        gone = (
            f"{proof.to_seller_minor} released + {proof.to_buyer_minor} refunded"
            f" + {proof.fees_minor} fees + {proof.tax_minor} tax + {proof.held_minor} held"
        )
        yield Finding(3, None, f"funded {proof.funded_minor}", gone)


def _check_quote(contract: Contract, priced_by: Settings | None) -> Iterator[Finding]:
    terms = contract.terms
    bases = tuple(tranche.base_minor for tranche in terms.tranches)
    if (sum(bases), len(bases)) != (contract.amount_minor, len(contract.tranches)):
        expected = f"{contract.amount_minor} in {len(contract.tranches)} tranches"
        yield Finding(8, None, expected, f"bases of {', '.join(map(str, bases))}")
    elif priced_by is not None:
        priced = price(bases, priced_by.fee_plan)
        if priced != terms.tranches:
            yield Finding(8, None, f"the lines {_lines(priced)}", _lines(terms.tranches))
        if terms.cancellation_policy != priced_by.cancellation_policy:
            policies = (priced_by.cancellation_policy, terms.cancellation_policy)
            tiers = [", ".join(f"{t.work} {t.seller_bps}" for t in policy) for policy in policies]
            yield Finding(7, None, f"the tiers {tiers[0]}", tiers[1])
        if terms.retention_bps != priced_by.retention_bps:
            kept = f"{priced_by.retention_bps} bps of retention"
            yield Finding(8, None, kept, f"{terms.retention_bps} bps")


def _check_funding(
    contract: Contract, index: int, came: Sequence[Transferred]
) -> Iterator[Finding]:
    """Nothing before the buyer paid; then the whole charge, once, from outside."""
    charge_minor = contract.terms.tranches[index].charge_minor
    wanted = 0 if contract.tranches[index] in _NOT_PAID else 1
    if len(came) != wanted:
        yield Finding(12, None, f"{wanted} fundings of tranche {index}", str(len(came)))
        return
    for transfer in came:
        if transfer.amount_minor != charge_minor:
            what = f"a funding of the charge {charge_minor}"
            yield Finding(13, None, what, str(transfer.amount_minor))
        source = unpack(transfer.debit)
        if source.kind not in _SOURCES or transfer.movement not in ("funded", "attached"):
            what = "a funding from provider_cash or suspense"
            yield Finding(13, None, what, f"{transfer.movement} from {source.name}")


def _check_outcome(
    contract: Contract, index: int, went: Sequence[Transferred]
) -> Iterator[Finding]:
    """What left a tranche is what its state says, line by line."""
    state = contract.tranches[index]
    priced = contract.terms.tranches[index]
    business, currency = contract.business, contract.currency
    invariant, wanted = 15, list[Posting]()
    if state is Money.RELEASED:
        invariant = 8
        wanted = postings(
            Released(
                business,
                contract.key,
                index,
                currency,
                contract.seller,
                priced.net_minor,
                priced.lines,
            )
        )
    elif state is Money.REFUNDED and contract.cancelled_work is not None:
        invariant = 7
        shares = cancellation_shares(contract.terms, index, contract.cancelled_work)
        wanted = postings(
            Refunded(
                business,
                contract.key,
                index,
                currency,
                contract.buyer,
                shares.buyer_minor,
                contract.seller,
                shares.seller_minor,
                shares.lines,
            )
        )
    elif state not in _NOT_PAID | HOLDING:
        yield Finding(15, None, "an outcome that these checks know", state)
        return
    expected = Counter((p.credit, p.amount_minor) for p in wanted if p.amount_minor)
    posted = Counter((t.credit, t.amount_minor) for t in went)
    if expected != posted:
        what = f"postings of a tranche that is {state}: {_posted(expected)}"
        yield Finding(invariant, None, what, _posted(posted))


def _check_covering(
    contract: Contract, index: int, came: Sequence[Transferred], went: Sequence[Transferred]
) -> Iterator[Finding]:
    """A tranche that covers a chargeback: all of it, at the account where it had come in."""
    source = unpack(came[0].debit).owner if came else 1
    charge_minor = contract.terms.tranches[index].charge_minor
    covered = ChargebackCovered(contract.key, index, contract.currency, charge_minor, source)
    expected = Counter((p.credit, p.amount_minor) for p in postings(covered))
    posted = Counter((t.credit, t.amount_minor) for t in went)
    if expected != posted or contract.tranches[index] is not Money.REFUNDED:
        what = f"a refunded tranche that covers a chargeback: {_posted(expected)}"
        yield Finding(15, None, what, f"{contract.tranches[index]}: {_posted(posted)}")


def _check_refund(
    contract: Contract,
    index: int,
    kind: RefundKind,
    part: Part,
    came: Sequence[Transferred],
    went: Sequence[Transferred],
) -> Iterator[Finding]:
    """A tranche that was refunded to its source: by the rules, and posted as its event says."""
    if contract.tranches[index] not in (Money.REFUNDED, Money.SPLIT):
        yield Finding(15, None, "a tranche that was refunded", contract.tranches[index])
        return
    if part != part_of(contract, kind, index, part.buyer_minor):
        yield Finding(8, None, f"the parts of a {kind} refund", f"{part}")
    source = unpack(came[0].debit).owner if came else 1
    wanted = postings(
        RefundedToSource(
            business=contract.business,
            contract=contract.key,
            tranche=index,
            currency=contract.currency,
            provider_account=source,
            buyer_minor=part.buyer_minor,
            seller=contract.seller,
            seller_minor=part.seller_minor,
            lines=part.lines,
        )
    )
    account = held(contract.currency, contract.key, index)
    expected = Counter(
        (p.credit, p.amount_minor) for p in wanted if p.amount_minor and p.debit == account
    )
    posted = Counter((t.credit, t.amount_minor) for t in went)
    if expected != posted:
        what = f"postings of a {kind} refund: {_posted(expected)}"
        yield Finding(8, None, what, _posted(posted))


def _posted(parts: Counter[tuple[int, int]]) -> str:
    named = sorted((unpack(account).name, minor) for account, minor in parts.elements())
    return ", ".join(f"{minor} to {name}" for name, minor in named) or "nothing"


def _lines(tranches: Iterable[PricedTranche]) -> str:
    return "; ".join(
        ", ".join(f"{line.type} {line.amount_minor} by {line.payer}" for line in tranche.lines)
        or "none"
        for tranche in tranches
    )
