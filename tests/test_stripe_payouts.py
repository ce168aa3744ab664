"""What is Stripe's alone in paying people and in its books: what is sent, what its words mean."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from earnest.errors import ProviderPermanent, ProviderUnknown
from earnest.providers.base import (
    BalanceKind,
    BalanceTransaction,
    DisputeState,
    PayoutAccount,
    ProviderPayoutState,
)
from earnest.providers.stripe import StripeProvider
from earnest.providers.stripe_units import to_stripe_payout
from shop import BOB, a_payout, a_return, a_transfer, paid, provider_at
from stripe_double import StripeDouble
from stripe_wire import Object
from town import NOON

HOUR = timedelta(hours=1)


async def books(provider: StripeProvider) -> list[BalanceTransaction]:
    """The lines, oldest first."""
    return [line async for line in provider.balance_transactions(NOON - HOUR, NOON + HOUR)][::-1]


async def payable(stripe: StripeDouble, provider: StripeProvider) -> str:
    """Bob's account, with 12,000.00 INR of ours to send to it."""
    stripe.books.fee_bps = stripe.books.fee_minor = 0
    await paid(stripe, provider)
    account = await provider.create_account(BOB)
    stripe.onboard(account.id)
    stripe.requests.clear()
    return account.id


# -- what is sent ---------------------------------------------------------------------------


async def test_it_opens_accounts_that_pay_out_only_what_we_pay_out(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    await provider.create_account(BOB)
    (request,) = stripe.requests
    assert request.key == "party-bob"
    assert request.params == {
        "business_profile[name]": "Bob Sells",
        "business_type": "individual",
        "capabilities[transfers][requested]": "true",
        "controller[fees][payer]": "application",
        "controller[losses][payments]": "application",
        "controller[requirement_collection]": "stripe",
        "controller[stripe_dashboard][type]": "express",
        "country": "IN",
        "email": "bob@example.com",
        "metadata[partyId]": "party-bob",
        "settings[payouts][schedule][interval]": "manual",
    }
    unnamed = msgspec.structs.replace(BOB, reference="b", email="", name="", is_company=True)
    await provider.create_account(unnamed)
    params = stripe.requests[-1].params
    assert params["business_type"] == "company"
    assert not {"email", "business_profile[name]"} & params.keys()


async def test_it_names_the_payout_in_all_that_it_makes(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    """Each call has a key of its own: to Stripe a key is one request."""
    bob = await payable(stripe, provider)
    transfer = await provider.create_transfer(a_transfer(bob))
    await provider.return_transfer(a_return(transfer.id))
    await provider.create_transfer(a_transfer(bob, idempotency_key="payout-1.2"))
    await provider.create_payout(a_payout(bob))
    posts = [request for request in stripe.requests if request.method == "POST"]
    assert [(post.path, post.key, post.account) for post in posts] == [
        ("/v1/transfers", "payout-1.transfer", None),
        (f"/v1/transfers/{transfer.id}/reversals", "payout-1.return", None),
        ("/v1/transfers", "payout-1.2.transfer", None),
        ("/v1/payouts", "payout-1.payout", bob),
    ]
    assert {post.params["metadata[payoutId]"] for post in posts} == {"payout-1"}
    assert posts[0].params["transfer_group"] == "payout-1"


@pytest.mark.parametrize(
    ("minor", "currency", "amount"),
    [(1_250, "INR", 1_250), (1_200, "HUF", 1_200), (500, "JPY", 500), (5, "UGX", 500)],
)
def test_it_counts_payouts_as_stripe_does(minor: int, currency: str, amount: int) -> None:
    assert to_stripe_payout(minor, currency) == amount


@pytest.mark.parametrize(
    ("minor", "currency"), [(1_250, "HUF"), (101, "TWD"), (5_124, "KWD"), (1, "ZZZ")]
)
async def test_it_sends_nothing_that_could_not_be_paid_out(
    stripe: StripeDouble, provider: StripeProvider, minor: int, currency: str
) -> None:
    """Not even a transfer, which would have to come back."""
    bob = await payable(stripe, provider)
    of = {"amount_minor": minor, "currency": currency}
    with pytest.raises(ProviderPermanent, match=currency):
        await provider.create_transfer(a_transfer(bob, **of))
    with pytest.raises(ProviderPermanent, match=currency):
        await provider.create_payout(a_payout(bob, **of))
    assert stripe.requests == []


async def test_its_links_end_by_business_time(stripe: StripeDouble) -> None:
    async def a_day() -> int:
        return 86_400

    ahead = provider_at(stripe.url, clock_ahead_seconds=a_day)
    account = await ahead.create_account(BOB)
    urls = {"return_url": "https://shop.example/a", "refresh_url": "https://shop.example/b"}
    link = await ahead.create_onboarding_link(account.id, **urls)
    assert link.expires_at == NOON + timedelta(days=1, seconds=300)
    assert stripe.requests[-1].params == urls | {
        "account": account.id,
        "type": "account_onboarding",
    }
    await ahead.close()


# -- what its words mean --------------------------------------------------------------------


async def test_it_says_what_an_account_lacks(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    made = await provider.create_account(BOB)
    assert not made.is_payable
    assert made.lacks == (
        "business_profile.url",
        "external_account",
        "tos_acceptance.date",
        "requirements.past_due",
    )
    stripe.onboard(made.id)
    assert await provider.find_account(made.id) == PayoutAccount(made.id, True)
    # Stripe wants to know more than before: it may stop payouts, and says so.
    stripe.onboard(made.id, complete=False)
    found = await provider.find_account(made.id)
    assert found is not None
    assert not found.is_payable
    assert found.lacks == ("individual.verification.document", "requirements.past_due")


@pytest.mark.parametrize(
    "changes",
    [{"payouts_enabled": False}, {"capabilities": {"transfers": "pending"}}, {"capabilities": {}}],
)
async def test_it_pays_nobody_whose_account_is_half_open(
    stripe: StripeDouble, provider: StripeProvider, changes: Object
) -> None:
    made = await provider.create_account(BOB)
    stripe.onboard(made.id)
    stripe.all("account")[made.id] |= changes
    found = await provider.find_account(made.id)
    assert found is not None
    assert not found.is_payable


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("pending", "pending"),
        ("in_transit", "pending"),
        ("paid", "paid"),
        ("failed", "failed"),
        ("canceled", "failed"),
    ],
)
async def test_it_knows_every_status_of_a_payout(
    stripe: StripeDouble, provider: StripeProvider, status: str, state: str
) -> None:
    bob = await payable(stripe, provider)
    await provider.create_transfer(a_transfer(bob))
    await provider.create_payout(a_payout(bob))
    (payout,) = stripe.all("payout").values()
    payout["status"] = status
    found = await provider.find_payout(a_payout(bob))
    assert found is not None
    assert found.state == state
    failed = found.state is ProviderPayoutState.FAILED
    assert found.failure == (status if failed else "")
    payout["status"] = "eaten_by_a_dog"
    with pytest.raises(ProviderUnknown):
        await provider.find_payout(a_payout(bob))


async def test_it_repeats_no_words_of_a_bank(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    bob = await payable(stripe, provider)
    await provider.create_transfer(a_transfer(bob))
    made = await provider.create_payout(a_payout(bob))
    stripe.settle_payout(made.id, "failed", failure_code="Bob Sells, 12 Main Street")
    found = await provider.find_payout(a_payout(bob))
    assert found is not None
    assert found.failure == "failed"


# -- disputes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "state", "wants_evidence"),
    [
        ("warning_needs_response", DisputeState.WARNING, True),
        ("warning_under_review", DisputeState.WARNING, False),
        ("warning_closed", DisputeState.WON, False),
        ("prevented", DisputeState.WON, False),
        ("needs_response", DisputeState.OPEN, True),
        ("appeal_needs_response", DisputeState.OPEN, True),
        ("under_review", DisputeState.REVIEW, False),
        ("appeal_under_review", DisputeState.REVIEW, False),
        ("won", DisputeState.WON, False),
        ("lost", DisputeState.LOST, False),
    ],
)
async def test_it_knows_every_status_of_a_dispute(
    stripe: StripeDouble,
    provider: StripeProvider,
    status: str,
    state: DisputeState,
    wants_evidence: bool,
) -> None:
    stripe.dispute((await paid(stripe, provider)).payment_id)
    (dispute,) = stripe.all("dispute").values()
    dispute["status"] = status
    found = await provider.find_dispute(dispute["id"])
    assert found is not None
    assert found.state is state
    assert (found.evidence_due_at == NOON + timedelta(days=7)) is wants_evidence
    assert (found.evidence_due_at is None) is not wants_evidence
    dispute["status"] = "settled_over_dinner"
    with pytest.raises(ProviderUnknown):
        await provider.find_dispute(dispute["id"])


async def test_it_tells_the_fee_of_a_dispute_from_its_amount(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    refund = await paid(stripe, provider)
    stripe.dispute(refund.payment_id, amount=700_000, fee=1_500, reason="product_not_received")
    (dispute_id,) = stripe.all("dispute")
    stripe.settle_dispute(dispute_id, "review")
    stripe.settle_dispute(dispute_id, "won", returned_fee=1_500)
    found = await provider.find_dispute(dispute_id)
    assert found is not None
    assert (found.amount_minor, found.reason) == (700_000, "product_not_received")
    assert [(line.amount_minor, line.fee_minor) for line in found.lines] == [
        (-700_000, 1_500),
        (700_000, -1_500),
    ]
    lines = [line for line in await books(provider) if line.source_id == dispute_id]
    assert [(line.kind, line.amount_minor, line.fee_minor) for line in lines] == [
        (BalanceKind.CHARGEBACK, -700_000, 1_500),
        (BalanceKind.CHARGEBACK_RETURNED, 700_000, -1_500),
    ]


async def test_a_warning_takes_nothing(stripe: StripeDouble, provider: StripeProvider) -> None:
    refund = await paid(stripe, provider)
    stripe.dispute(refund.payment_id, warning=True)
    (dispute_id,) = stripe.all("dispute")
    for verdict, state in (("review", DisputeState.WARNING), ("won", DisputeState.WON)):
        stripe.settle_dispute(dispute_id, "review" if verdict == "review" else "won")
        found = await provider.find_dispute(dispute_id)
        assert found is not None
        assert (found.state, found.lines) == (state, ())
    assert (await provider.create_refund(refund)).amount_minor == 500_000


# -- balance transactions -------------------------------------------------------------------


async def test_it_tells_the_fees_of_charges_and_of_stripe(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    refund = await paid(stripe, provider)
    stripe.charge_fee(2_000, "inr")
    charge, fee = await books(provider)
    assert (charge.kind, charge.source_id) == (BalanceKind.CHARGE, refund.payment_id)
    assert (charge.amount_minor, charge.fee_minor) == (1_200_000, 34_830)
    assert (fee.kind, fee.type, fee.source_id) == (BalanceKind.FEE, "stripe_fee", "")
    assert (fee.amount_minor, fee.fee_minor) == (-2_000, 0)


async def test_it_tells_when_money_is_available(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    stripe.books.settles_after_seconds = 2 * 86_400
    await paid(stripe, provider)
    (line,) = await books(provider)
    assert (line.created_at, line.available_at) == (NOON, NOON + timedelta(days=2))


@pytest.mark.parametrize(
    ("type_", "category", "kind"),
    [
        ("charge", "charge", "charge"),
        ("payment", "charge", "charge"),
        ("refund", "refund", "refund"),
        ("payment_refund", "refund", "refund"),
        ("refund_failure", "refund_failure", "refund_returned"),
        ("adjustment", "refund_failure", "refund_returned"),
        ("transfer", "transfer", "transfer"),
        ("transfer_refund", "transfer_reversal", "transfer_returned"),
        ("transfer_cancel", "transfer_reversal", "transfer_returned"),
        ("adjustment", "dispute", "chargeback"),
        ("adjustment", "dispute_reversal", "chargeback_returned"),
        ("adjustment", "fee", "fee"),
        ("adjustment", "other_adjustment", "other"),
        ("stripe_fee", "fee", "fee"),
        ("stripe_fx_fee", "fee", "fee"),
        ("tax_fee", "tax", "fee"),
        ("payout", "payout", "bank"),
        ("payout_failure", "payout_reversal", "bank"),
        ("payout_cancel", "payout_reversal", "bank"),
        ("topup", "topup", "bank"),
        ("topup_reversal", "topup_reversal", "bank"),
        ("application_fee", "platform_earning", "other"),
        # A payment that had come and did not stay: nothing that Earnest causes.
        ("payment_failure_refund", "charge_failure", "other"),
        ("reserve_transaction", "risk_reserved_funds", "other"),
        ("something_of_tomorrow", "something", "other"),
    ],
)
async def test_it_knows_what_a_line_is_about(
    stripe: StripeDouble, provider: StripeProvider, type_: str, category: str, kind: str
) -> None:
    stripe.books.book(type_, -100, "inr", None, category=category)
    (line,) = await books(provider)
    assert (line.kind, line.type, line.amount_minor) == (kind, type_, -100)


async def test_it_follows_our_balance_and_nobody_elses(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    """What a connected account pays out is not of our books; what we pay to our own bank is."""
    bob = await payable(stripe, provider)
    await provider.create_transfer(a_transfer(bob))
    await provider.create_payout(a_payout(bob))
    own: Any = {"amount": 100, "currency": "inr"}
    await provider._client.v1.payouts.create_async(own)
    kinds = [line.kind for line in await books(provider)]
    assert kinds == [BalanceKind.CHARGE, BalanceKind.TRANSFER, BalanceKind.BANK]
    total_minor = sum(line.amount_minor - line.fee_minor for line in await books(provider))
    assert total_minor == stripe.books.balance("available")["inr"]
