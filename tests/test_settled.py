"""A contract against the ledger, in values alone: what was posted rightly passes, and every other
posting is named with what should have been there."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from earnest.domain.contract import Contract, Money, Work
from earnest.domain.history import Finding
from earnest.domain.movement import ChargebackCovered
from earnest.domain.party import SYSTEM, Actor
from earnest.domain.pricing import Line, LineType, Payee, Payer
from earnest.domain.refund import Part, RefundKind
from earnest.ledger.accounts import Kind, held, pack, wallet
from earnest.ledger.movements import Transfer, expand, postings
from earnest.ledger.settled import Parts, check_money
from reachable import ALICE, ATTEMPTS, BOB, NOW, OLGA, SHOP, Drawn, beginnings

CHARGE_MINOR = 1_200_000
FEE_INCOME = pack(Kind.PLATFORM_FEE_INCOME, "INR", SHOP.key)
TRANSIT = pack(Kind.REFUNDS_IN_TRANSIT, "INR", 1)
LOSS = pack(Kind.CHARGEBACK_LOSS, "INR", 1)
PAID = (("fund", SYSTEM),)
RELEASED = (
    *PAID,
    *(("approve", BOB), ("work on", BOB), ("complete", BOB)),
    *(("request release", ALICE), ("approve release", OLGA)),
)
REFUNDED = (*PAID, ("approve", BOB), ("approve refund", OLGA))


class Books(msgspec.Struct):
    """A contract, and all transfers that touch what it holds."""

    contract: Contract
    transfers: tuple[Transfer, ...] = ()
    held_minor: int = 0

    def check(self, **more: Any) -> list[Finding]:
        settings = more.pop("priced_by", SHOP.settings)
        return list(check_money(self.contract, settings, self.transfers, self.held_minor, **more))

    def changed(self, **changes: Any) -> "Books":
        """The same postings of another contract."""
        contract = msgspec.structs.replace(self.contract, **changes)
        return msgspec.structs.replace(self, contract=contract)

    def with_transfer(self, index: int, **changes: Any) -> "Books":
        transfers = list(self.transfers)
        transfers[index] = msgspec.structs.replace(transfers[index], **changes)
        return msgspec.structs.replace(self, transfers=tuple(transfers))

    def without(self, index: int) -> "Books":
        transfers = self.transfers[:index] + self.transfers[index + 1 :]
        return msgspec.structs.replace(self, transfers=transfers)

    def posted(self, credit: int, amount_minor: int, debit: int | None = None) -> "Books":
        """One more transfer out of the first tranche, or from `debit`."""
        source = debit or held("INR", self.contract.key, 0)
        one = Transfer(900, 1, "moved", source, credit, amount_minor, None, None, NOW, NOW)
        return msgspec.structs.replace(self, transfers=(*self.transfers, one))


def books(*steps: tuple[str, Actor]) -> Books:
    """Alice's 12,000.00 for Bob, after these steps."""
    contract, _ = beginnings()
    drawn, now, transfers = Drawn(), NOW, list[Transfer]()
    for verb, actor in steps:
        now += timedelta(hours=1)
        change = ATTEMPTS[verb](contract, actor, now, drawn.ids)
        assert change.contract is not None
        contract = change.contract
        transfers += expand(change, drawn.ids)
    account = held("INR", contract.key, 0)
    left = sum(t.amount_minor * ((t.credit == account) - (t.debit == account)) for t in transfers)
    return Books(contract, tuple(transfers), left)


def only(found: list[Finding]) -> tuple[int, str, str]:
    """The one finding there is, of the contract's row."""
    (one,) = found
    assert one.event is None
    return one.invariant, one.expected, one.found


# -- what is right --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps",
    [(), PAID, RELEASED, REFUNDED, (*PAID, ("cancel", BOB)), (("cancel", BOB), *PAID)],
    ids=["new", "paid", "released", "refunded", "refund pending", "paid when it was over"],
)
def test_what_was_posted_rightly_passes(steps: tuple[tuple[str, Actor], ...]) -> None:
    assert books(*steps).check() == []


def test_money_that_had_been_parked_passes_too() -> None:
    suspense = pack(Kind.SUSPENSE, "INR", 1)
    assert books(*PAID).with_transfer(0, debit=suspense, movement="attached").check() == []


# -- what came in ---------------------------------------------------------------------------------


def test_what_is_paid_was_funded_once() -> None:
    missing = books(*PAID).without(0)
    missing.held_minor = 0
    assert only(missing.check()) == (12, "1 fundings of tranche 0", "0")
    twice = books(*PAID)
    twice.transfers *= 2
    twice.held_minor *= 2
    assert only(twice.check()) == (12, "1 fundings of tranche 0", "2")


@pytest.mark.parametrize("money", [Money.UNFUNDED, Money.AWAITING_PAYMENT])
def test_nothing_came_before_it_was_paid(money: Money) -> None:
    early = books(*PAID).changed(tranches=(money,))
    assert only(early.check()) == (12, "0 fundings of tranche 0", "1")


def test_what_came_in_was_the_charge() -> None:
    less = books(*PAID).with_transfer(0, amount_minor=CHARGE_MINOR - 1)
    less.held_minor -= 1
    assert only(less.check()) == (13, "a funding of the charge 1200000", "1199999")


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"debit": wallet("INR", 77)}, "funded from wallet:INR:77"),
        ({"movement": "released"}, "released from provider_cash:INR:1"),
    ],
)
def test_it_came_from_outside(changes: dict[str, Any], found: str) -> None:
    inside = books(*PAID).with_transfer(0, **changes)
    assert only(inside.check()) == (13, "a funding from provider_cash or suspense", found)


# -- what the proof says --------------------------------------------------------------------------


def test_the_proof_names_where_everything_is() -> None:
    wrong = books(*RELEASED)
    wrong.held_minor = 5
    assert only(wrong.check()) == (
        3,
        "funded 1200000",
        "1080000 released + 0 refunded + 120000 fees + 0 tax + 5 held",
    )


# -- the quote ------------------------------------------------------------------------------------


def test_bases_are_the_contracts_amount_in_as_many_tranches() -> None:
    assert only(books().changed(amount_minor=5).check()) == (
        8,
        "5 in 1 tranches",
        "bases of 1200000",
    )
    two = books().changed(tranches=(Money.UNFUNDED,) * 2)
    found = next(check_money(two.contract, None, (), 0))
    assert found == Finding(8, None, "1200000 in 2 tranches", "bases of 1200000")


def test_lines_are_those_of_the_plan_while_the_plan_is_known() -> None:
    new = books()
    (priced,) = new.contract.terms.tranches
    free = msgspec.structs.replace(priced, lines=())
    cheaper = new.changed(terms=msgspec.structs.replace(new.contract.terms, tranches=(free,)))
    assert only(cheaper.check()) == (
        8,
        "the lines externalPlatformFee 120000 by seller",
        "none",
    )
    assert cheaper.check(priced_by=None) == []


def test_several_tranches_are_listed_one_after_the_other() -> None:
    new = books()
    (priced,) = new.contract.terms.tranches
    small = msgspec.structs.replace(priced, base_minor=5, lines=priced.lines * 2)
    terms = msgspec.structs.replace(new.contract.terms, tranches=(priced, small))
    two = new.changed(terms=terms, tranches=(Money.UNFUNDED,) * 2)
    assert only(two.check()) == (8, "1200000 in 2 tranches", "bases of 1200000, 5")
    two = two.changed(amount_minor=1_200_005)
    line = "externalPlatformFee 120000 by seller"
    assert only(two.check())[2] == f"{line}; {line}, {line}"


def test_tiers_and_retention_are_those_of_the_business() -> None:
    new = books()
    policy = new.contract.terms.cancellation_policy[:2]
    terms = msgspec.structs.replace(new.contract.terms, cancellation_policy=policy)
    assert only(new.changed(terms=terms).check()) == (
        7,
        "the tiers not_started 0, started 1500, ongoing 4000, delivered 4000",
        "not_started 0, started 1500",
    )
    terms = msgspec.structs.replace(new.contract.terms, retention_bps=500)
    assert only(new.changed(terms=terms).check()) == (8, "0 bps of retention", "500 bps")


# -- what went out --------------------------------------------------------------------------------


def test_nothing_leaves_what_is_held() -> None:
    leak = books(*PAID).posted(wallet("INR", BOB.key), 7)
    leak.held_minor -= 7
    assert only(leak.check()) == (
        15,
        "postings of a tranche that is held: nothing",
        "7 to wallet:INR:2",
    )


def test_a_release_pays_the_seller_and_every_line() -> None:
    right = books(*RELEASED)
    expected = "120000 to platform_fee_income:INR:1, 1080000 to wallet:INR:2"
    wrong = right.with_transfer(1, amount_minor=1_079_999).with_transfer(2, amount_minor=120_001)
    assert only(wrong.check()) == (
        8,
        f"postings of a tranche that is released: {expected}",
        "120001 to platform_fee_income:INR:1, 1079999 to wallet:INR:2",
    )
    assert only(right.changed(tranches=(Money.HELD,)).check())[:2] == (
        15,
        "postings of a tranche that is held: nothing",
    )


def test_a_refund_follows_the_policy_at_the_work_it_was_cancelled_at() -> None:
    right = books(*REFUNDED)
    wrong = right.changed(cancelled_work=Work.ONGOING)
    assert only(wrong.check()) == (
        7,
        (
            "postings of a tranche that is refunded: 120000 to platform_fee_income:INR:1,"
            " 648000 to wallet:INR:1, 432000 to wallet:INR:2"
        ),
        "120000 to platform_fee_income:INR:1, 918000 to wallet:INR:1, 162000 to wallet:INR:2",
    )


@pytest.mark.parametrize(
    ("changes", "state"),
    [({"cancelled_work": None}, "refunded"), ({"tranches": (Money.SPLIT,)}, "split")],
)
def test_an_outcome_that_nobody_can_check_is_a_finding(changes: dict[str, Any], state: str) -> None:
    unknown = books(*REFUNDED).changed(**changes)
    assert only(unknown.check()) == (15, "an outcome that these checks know", state)


# -- refunds to the source ------------------------------------------------------------------------

FEE = Line(LineType.PLATFORM_FEE, Payer.SELLER, Payee.PLATFORM_FEE_INCOME, 120_000)
KEPT = Line(LineType.RETENTION, Payer.SELLER, Payee.ESCROW_FEE_INCOME, 0)
PARTIAL = Part(0, 200_000, 880_000, (FEE, KEPT))


def given_back(money: Money = Money.SPLIT) -> Books:
    """2,000.00 of it went back to where it came from, the rest to Bob."""
    paid = books(*PAID).changed(tranches=(money,))
    paid.held_minor = 0
    return (paid.posted(TRANSIT, 200_000).posted(wallet("INR", BOB.key), 880_000)).posted(
        FEE_INCOME, 120_000
    )


def parts(part: Part = PARTIAL, kind: RefundKind = RefundKind.PARTIAL) -> Parts:
    return {part.tranche: (kind, part)}


def test_a_refund_to_the_source_is_posted_as_its_event_says() -> None:
    assert given_back().check(parts=parts()) == []
    assert given_back(Money.REFUNDED).check(parts=parts()) == []


def test_a_refund_to_the_source_is_of_a_tranche_that_was_refunded() -> None:
    assert only(given_back(Money.RELEASED).check(parts=parts())) == (
        15,
        "a tranche that was refunded",
        "released",
    )


def test_the_parts_of_a_refund_follow_its_rules() -> None:
    more = msgspec.structs.replace(PARTIAL, seller_minor=880_001)
    found = given_back().check(parts=parts(more))
    assert found[0] == Finding(8, None, "the parts of a partial refund", f"{more}")


def test_another_posting_of_a_refund_is_named() -> None:
    wrong = given_back().with_transfer(1, amount_minor=200_001)
    wrong = wrong.with_transfer(2, amount_minor=879_999)
    assert only(wrong.check(parts=parts())) == (
        8,
        (
            "postings of a partial refund: 120000 to platform_fee_income:INR:1,"
            " 200000 to refunds_in_transit:INR:1, 880000 to wallet:INR:2"
        ),
        (
            "120000 to platform_fee_income:INR:1, 200001 to refunds_in_transit:INR:1,"
            " 879999 to wallet:INR:2"
        ),
    )


def test_a_refund_goes_back_to_the_account_where_the_money_had_come_in() -> None:
    elsewhere = given_back().with_transfer(0, debit=pack(Kind.PROVIDER_CASH, "INR", 9))
    assert only(elsewhere.check(parts=parts()))[0] == 8
    there = elsewhere.with_transfer(1, credit=pack(Kind.REFUNDS_IN_TRANSIT, "INR", 9))
    assert there.check(parts=parts()) == []


def test_parts_of_another_tranche_say_nothing_of_this_one() -> None:
    other = {1: (RefundKind.PARTIAL, PARTIAL)}
    assert books(*PAID).check(parts=other) == []


# -- what covers a chargeback ---------------------------------------------------------------------


def covering(money: Money = Money.REFUNDED) -> Books:
    """All that was held covers what the buyer's bank took."""
    paid = books(*PAID).changed(tranches=(money,))
    paid.held_minor = 0
    return paid.posted(LOSS, CHARGE_MINOR)


def test_what_covers_a_chargeback_is_all_that_came_in() -> None:
    assert covering().check(covering=frozenset({0})) == []
    (posting,) = postings(ChargebackCovered(covering().contract.key, 0, "INR", CHARGE_MINOR, 1))
    assert posting.credit == LOSS


def test_any_other_covering_is_named() -> None:
    expected = "a refunded tranche that covers a chargeback: 1200000 to chargeback_loss:INR:1"
    for wrong, found in (
        (covering(Money.RELEASED), "released: 1200000 to chargeback_loss:INR:1"),
        (
            covering().with_transfer(1, amount_minor=1),
            "refunded: 1 to chargeback_loss:INR:1",
        ),
        (covering().without(1), "refunded: nothing"),
    ):
        named = wrong.check(covering=frozenset({0}))
        assert named[-1] == Finding(15, None, expected, found)


@pytest.mark.parametrize(
    ("more", "account"),
    [
        ({"covering": frozenset({0})}, "1200000 to chargeback_loss:INR:1"),
        ({"parts": {0: (RefundKind.PARTIAL, PARTIAL)}}, "200000 to refunds_in_transit:INR:1"),
    ],
)
def test_what_never_came_in_is_missed_at_the_first_account(
    more: dict[str, Any], account: str
) -> None:
    nothing = books().changed(tranches=(Money.REFUNDED,))
    missed = nothing.check(**more)
    assert missed[0].invariant == 12
    assert account in missed[-1].expected


def test_it_covers_where_the_money_had_come_in() -> None:
    elsewhere = covering().with_transfer(0, debit=pack(Kind.PROVIDER_CASH, "INR", 9))
    assert only(elsewhere.check(covering=frozenset({0})))[0] == 15
    there = elsewhere.with_transfer(1, credit=pack(Kind.CHARGEBACK_LOSS, "INR", 9))
    assert there.check(covering=frozenset({0})) == []
