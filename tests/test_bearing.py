"""Who bears what a payer's bank takes (ADR 0028), in values alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disputed import CHARGE_MINOR, contract_with, disputed, paid
from earnest.domain.bearing import Exposure, Purse, Taken, book
from earnest.domain.chargeback import Line
from earnest.domain.movement import ChargebackReturned, ChargedBack
from earnest.domain.payment import PaymentState
from earnest.domain.refund import RefundState
from hired import PROVIDER, refund
from reachable import ALICE, BOB


def borne(exposure: Exposure, *amounts_minor: int, by: tuple[Line, ...] = ()) -> list[Line]:
    """The lines that these balance transactions become."""
    fresh = [Taken(f"txn_{i}", minor) for i, minor in enumerate(amounts_minor)]
    return book(disputed(*by), exposure, fresh)[0]


def given_out(buyer: Purse = Purse(), seller: Purse = Purse()) -> Exposure:  # noqa: B008
    """A contract that is over: its money is in these purses, or gone."""
    return Exposure(paid(), contract_with("released"), buyer, seller)


# -- taken ----------------------------------------------------------------------------------------


def test_nobody_bears_what_is_still_held() -> None:
    held = Exposure(paid(), contract_with("held"), Purse(500, 500), Purse(500, 500))
    assert held.waits_minor == CHARGE_MINOR
    assert borne(held, -CHARGE_MINOR) == [Line("txn_0", -CHARGE_MINOR, 0, 0)]


@pytest.mark.parametrize(
    ("state", "waits_minor"),
    [("parked", CHARGE_MINOR), ("captured", 0), ("refunded", 0), ("charged_back", 0)],
)
def test_a_payment_without_a_contract_waits_while_it_is_parked(
    state: str, waits_minor: int
) -> None:
    assert Exposure(paid(PaymentState(state)), None).waits_minor == waits_minor


@pytest.mark.parametrize(
    ("money", "waits_minor"),
    [
        ("unfunded", 0),
        ("held", CHARGE_MINOR),
        ("release_requested", CHARGE_MINOR),
        ("refund_pending", CHARGE_MINOR),
        ("released", 0),
        ("refunded", 0),
        ("split", 0),
    ],
)
def test_a_contracts_money_waits_while_it_is_held(money: str, waits_minor: int) -> None:
    assert Exposure(paid(), contract_with(money)).waits_minor == waits_minor


def test_the_buyer_bears_it_before_the_seller_and_we_bear_the_rest() -> None:
    exposure = given_out(Purse(300, 200), Purse(400, 500))
    assert borne(exposure, -1_000) == [Line("txn_0", -1_000, -200, -400)]
    assert borne(exposure, -150) == [Line("txn_0", -150, -150, 0)]
    assert borne(exposure, -350) == [Line("txn_0", -350, -200, -150)]


def test_what_is_held_is_taken_before_anybody_bears_anything() -> None:
    exposure = Exposure(paid(), contract_with("held"), Purse(300, 300), Purse(400, 400))
    beyond = -(CHARGE_MINOR + 450)
    assert borne(exposure, beyond) == [Line("txn_0", beyond, -300, -150)]


@pytest.mark.parametrize(
    ("wallet_minor", "got_minor", "bears_minor"),
    [(500, 300, 300), (300, 500, 300), (0, 500, 0), (500, 0, 0), (500, -1, 0), (-1, 500, 0)],
)
def test_a_person_bears_no_more_than_they_got_and_still_have(
    wallet_minor: int, got_minor: int, bears_minor: int
) -> None:
    assert Purse(wallet_minor, got_minor).bears_minor == bears_minor


def test_a_purse_of_which_nothing_is_known_is_empty() -> None:
    assert Purse().plus(5) == Purse(5, 5)


def test_what_one_line_took_the_next_cannot_take_again() -> None:
    exposure = given_out(Purse(100, 100), Purse(200, 200))
    assert borne(exposure, -250, -250) == [
        Line("txn_0", -250, -100, -150),
        Line("txn_1", -250, 0, -50),
    ]


# -- given back -----------------------------------------------------------------------------------


def test_it_comes_back_to_the_seller_first_and_to_nobody_more_than_was_taken() -> None:
    took = (Line("txn_a", -1_000, -200, -400),)
    assert borne(given_out(), 300, by=took) == [Line("txn_0", 300, 0, 300)]
    assert borne(given_out(), 500, by=took) == [Line("txn_0", 500, 100, 400)]
    assert borne(given_out(), 1_000, by=took) == [Line("txn_0", 1_000, 200, 400)]


def test_it_comes_back_once() -> None:
    there_and_back = (Line("txn_a", -1_000, -200, -400), Line("txn_b", 1_000, 200, 400))
    assert borne(given_out(), 1_000, by=there_and_back) == [Line("txn_0", 1_000, 0, 0)]


def test_what_was_taken_and_came_back_can_be_taken_again() -> None:
    exposure = given_out(Purse(200, 200), Purse(400, 400))
    assert borne(exposure, -1_000, 1_000, -1_000) == [
        Line("txn_0", -1_000, -200, -400),
        Line("txn_1", 1_000, 200, 400),
        Line("txn_2", -1_000, -200, -400),
    ]


# -- as movements -------------------------------------------------------------------------------


def test_each_line_is_one_movement_of_amounts_without_a_sign() -> None:
    _, movements = book(
        disputed(), given_out(Purse(200, 200), Purse(400, 400)), [Taken("a", -1_000), Taken("b", 9)]
    )
    assert movements == [
        ChargedBack("INR", PROVIDER, 1_000, ALICE.key, 200, BOB.key, 400),
        ChargebackReturned("INR", PROVIDER, 9, ALICE.key, 0, BOB.key, 9),
    ]
    assert [type(one) for one in movements] == [ChargedBack, ChargebackReturned]


minors = st.integers(0, 2_000)
amounts = st.lists(st.integers(-2_000, 2_000).filter(bool), max_size=6)


@given(minors, minors, minors, minors, amounts)
def test_people_together_never_bear_more_than_was_taken_nor_more_than_they_have(
    buyer_has: int, buyer_got: int, seller_has: int, seller_got: int, taken: list[int]
) -> None:
    exposure = given_out(Purse(buyer_has, buyer_got), Purse(seller_has, seller_got))
    by_buyer = by_seller = 0
    for line in borne(exposure, *taken):
        assert abs(line.buyer_minor) + abs(line.seller_minor) <= abs(line.amount_minor)
        assert line.buyer_minor * line.amount_minor >= 0
        assert line.seller_minor * line.amount_minor >= 0
        by_buyer += line.buyer_minor
        by_seller += line.seller_minor
        assert 0 <= -by_buyer <= min(buyer_has, buyer_got)
        assert 0 <= -by_seller <= min(seller_has, seller_got)


# -- a refund that may be happening ---------------------------------------------------------------


@pytest.mark.parametrize("state", RefundState)
def test_a_refund_may_be_happening_once_the_provider_was_asked(state: RefundState) -> None:
    refunds = (refund(RefundState.PLANNED), refund(state))
    exposure = Exposure(paid(), None, refunds=refunds)
    assert exposure.is_refunding is (state in ("sent", "unknown"))
