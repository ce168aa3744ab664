"""What every payment provider says of its books: one suite, for the sandbox and Stripe.

Alice pays in and may want it back by her bank, Bob is paid. Each test runs once for each shop.
"""

from datetime import UTC, datetime, timedelta

import pytest

from earnest.errors import ProviderPermanent
from earnest.providers.base import (
    BalanceKind,
    BalanceTransaction,
    CheckoutSession,
    DisputeState,
    ProviderDispute,
)
from shop import Shop, a_payout, a_refund, a_return, a_transfer, earn, payee

HOUR = timedelta(hours=1)


@pytest.fixture(params=["sandbox", "stripe"])
def shop(request: pytest.FixtureRequest) -> Shop:
    found: Shop = request.getfixturevalue(f"{request.param}_shop")
    return found


async def books(
    shop: Shop, since: datetime | None = None, until: datetime | None = None
) -> list[BalanceTransaction]:
    """The lines, oldest first."""
    now = shop.now()
    found = shop.another().balance_transactions(since or now - HOUR, until or now + HOUR)
    lines = [line async for line in found]
    return sorted(lines, key=lambda line: (line.created_at, line.id))


async def payment_of(shop: Shop, session: CheckoutSession) -> str:
    found = await shop.provider.find_checkout(session.id)
    assert found is not None
    assert found.payment_id is not None
    return found.payment_id


# -- disputes -------------------------------------------------------------------------------


async def found_dispute(shop: Shop, dispute_id: str) -> ProviderDispute:
    found = await shop.another().find_dispute(dispute_id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("currency", "amount_minor"), [("INR", 1_250_050), ("SAR", 68_625), ("KWD", 5_120)]
)
@pytest.mark.parametrize("outcome", ["won", "lost"])
async def test_it_tells_what_a_dispute_did_to_our_balance(
    shop: Shop, outcome: str, currency: str, amount_minor: int
) -> None:
    session = await earn(shop, amount_minor, currency)
    payment_id = await payment_of(shop, session)
    dispute_id = await shop.dispute(session, "opened")
    opened = await found_dispute(shop, dispute_id)
    assert (opened.id, opened.payment_id) == (dispute_id, payment_id)
    assert (opened.state, opened.reason) == (DisputeState.OPEN, "fraudulent")
    assert (opened.amount_minor, opened.currency) == (amount_minor, currency)
    assert [(line.amount_minor, line.fee_minor) for line in opened.lines] == [(-amount_minor, 0)]
    assert opened.evidence_due_at is not None
    assert opened.evidence_due_at > shop.now()
    await shop.dispute(session, outcome)
    over = await found_dispute(shop, dispute_id)
    assert (over.state, over.evidence_due_at) == (outcome, None)
    given_back = [amount_minor] if outcome == "won" else []
    assert [line.amount_minor for line in over.lines] == [-amount_minor, *given_back]
    assert over.lines[0] == opened.lines[0]
    told = [type_ for type_, _, subject in await shop.told() if subject == dispute_id]
    assert told == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
        *["charge.dispute.funds_reinstated" for _ in given_back],
    ]


@pytest.mark.parametrize("dispute_id", ["", "du_unknown", "du_\0", "../charges", "é", "x" * 5000])
async def test_it_knows_no_other_dispute(shop: Shop, dispute_id: str) -> None:
    await shop.dispute(await earn(shop), "opened")
    assert await shop.provider.find_dispute(dispute_id) is None


async def test_it_gives_nothing_back_of_what_a_bank_has_taken(shop: Shop) -> None:
    """Or the payer would have it twice. Once the bank has given it back, it can be refunded."""
    session = await earn(shop)
    payment_id = await payment_of(shop, session)
    await shop.dispute(session, "opened")
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_refund(a_refund(payment_id))
    await shop.dispute(session, "won")
    again = a_refund(payment_id, idempotency_key="refund-1.2")
    assert (await shop.provider.create_refund(again)).amount_minor == 500_000


# -- balance transactions -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "amount_minor"), [("INR", 1_250_050), ("SAR", 68_620), ("KWD", 5_120)]
)
async def test_it_lists_every_change_of_our_balance(
    shop: Shop, currency: str, amount_minor: int
) -> None:
    of = {"currency": currency, "amount_minor": amount_minor // 2}
    before = shop.now() - HOUR
    session, other = [await earn(shop, amount_minor, currency) for _ in range(2)]
    payment_id, disputed = [await payment_of(shop, each) for each in (session, other)]
    refund = await shop.provider.create_refund(a_refund(payment_id, **of))
    bob = await payee(shop)
    transfer = await shop.provider.create_transfer(a_transfer(bob, **of))
    await shop.provider.create_payout(a_payout(bob, **of))
    await shop.settle(a_payout(bob, **of), "failed")
    await shop.provider.return_transfer(a_return(transfer.id, **of))
    dispute_id = await shop.dispute(other, "opened")
    await shop.dispute(other, "won")
    lines = await books(shop, since=before)
    half = amount_minor // 2
    found = sorted((line.kind, line.amount_minor, line.source_id) for line in lines)
    (back,) = [line for line in lines if line.kind is BalanceKind.TRANSFER_RETURNED]
    assert back.source_id not in (transfer.id, "")
    assert found == sorted(
        [
            (BalanceKind.CHARGE, amount_minor, payment_id),
            (BalanceKind.CHARGE, amount_minor, disputed),
            (BalanceKind.REFUND, -half, refund.id),
            (BalanceKind.TRANSFER, -half, transfer.id),
            (BalanceKind.TRANSFER_RETURNED, half, back.source_id),
            (BalanceKind.CHARGEBACK, -amount_minor, dispute_id),
            (BalanceKind.CHARGEBACK_RETURNED, amount_minor, dispute_id),
        ]
    )
    assert len({line.id for line in lines}) == len(lines)
    dispute = await found_dispute(shop, dispute_id)
    taken = {line.id for line in lines if line.source_id == dispute_id}
    assert {line.id for line in dispute.lines} == taken
    for line in lines:
        assert (line.currency, line.fee_minor) == (currency, 0)
        assert line.created_at.tzinfo is not None
        assert before <= line.created_at <= shop.now() + HOUR
        assert line.type


async def test_it_lists_what_is_between_two_moments(shop: Shop) -> None:
    for _ in range(3):
        await earn(shop)
    lines = await books(shop)
    first, last = lines[0].created_at, lines[-1].created_at
    assert len(lines) == 3
    assert await books(shop, since=first, until=last + timedelta(seconds=1)) == lines
    assert await books(shop, until=first) == []
    assert await books(shop, since=last + timedelta(seconds=1)) == []
    assert await books(shop, since=datetime(2020, 1, 1, tzinfo=UTC), until=first) == []


async def test_it_lists_more_than_fit_on_a_page(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sandbox_books", "stripe_books"):
        monkeypatch.setattr(f"earnest.providers.{module}.PAGE_LINES", 2)
    for minor in range(100, 107):
        await earn(shop, minor)
    lines = await books(shop)
    assert sorted(line.amount_minor for line in lines) == list(range(100, 107))
    assert len({line.id for line in lines}) == 7
