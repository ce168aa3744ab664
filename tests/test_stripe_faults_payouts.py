"""Paying people while the line to Stripe breaks in every way that the double knows.

The worker's rule, played here: ask again by the same key; look the outcome up after every failure;
take another key only when Stripe has spent the old one and a lookup found nothing. Then nothing is
made twice, and nothing is given up that might have happened.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
import pytest

from earnest.actions.calls import key_of_call
from earnest.errors import (
    ProviderError,
    ProviderKeyInUse,
    ProviderPermanent,
    ProviderTransient,
    ProviderUnknown,
)
from earnest.providers.base import PayoutRequest, ProviderPayout, ProviderTransfer
from earnest.providers.stripe import StripeProvider
from shop import BOB, a_payout, a_return, a_transfer, paid, provider_at
from stripe_double import Fault, StripeDouble
from stripe_server import Armed
from test_stripe_faults import MEANING
from town import NOON

ATTEMPTS_MAX = 6
REFERENCE = "payout-1"


class Counter(msgspec.Struct):
    """Where Bob is paid: his account, what was sent to it and is to be paid out, a dispute."""

    account_id: str
    transfer: ProviderTransfer
    dispute_id: str


@pytest.fixture
async def counter(stripe: StripeDouble, provider: StripeProvider) -> Counter:
    refund = await paid(stripe, provider)
    account = await provider.create_account(BOB)
    stripe.onboard(account.id)
    sent = a_transfer(account.id, reference="before")
    transfer = await provider.create_transfer(sent)
    stripe.dispute(refund.payment_id, amount=100)
    (dispute_id,) = stripe.all("dispute")
    stripe.requests.clear()
    return Counter(account.id, transfer, dispute_id)


async def list_books(provider: StripeProvider) -> list[object]:
    found = provider.balance_transactions(NOON - timedelta(hours=1), NOON + timedelta(hours=1))
    return [line async for line in found]


URL = "https://shop.example/"
Call = Callable[[StripeProvider, Counter], Awaitable[object]]
CALLS: dict[str, tuple[str, str, Call]] = {
    "create_account": (
        "POST",
        "/v1/accounts",
        lambda p, _: p.create_account(msgspec.structs.replace(BOB, reference="party-huda")),
    ),
    "find_account": ("GET", "/v1/accounts/*", lambda p, c: p.find_account(c.account_id)),
    "create_onboarding_link": (
        "POST",
        "/v1/account_links",
        lambda p, c: p.create_onboarding_link(c.account_id, return_url=URL, refresh_url=URL),
    ),
    "create_transfer": (
        "POST",
        "/v1/transfers",
        lambda p, c: p.create_transfer(a_transfer(c.account_id)),
    ),
    "find_transfer": (
        "GET",
        "/v1/transfers",
        lambda p, c: p.find_transfer(a_transfer(c.account_id)),
    ),
    "return_transfer": (
        "POST",
        "/v1/transfers/*/reversals",
        lambda p, c: p.return_transfer(a_return(c.transfer.id)),
    ),
    "look_before_returning": (
        "GET",
        "/v1/transfers/*",
        lambda p, c: p.return_transfer(a_return(c.transfer.id)),
    ),
    "create_payout": ("POST", "/v1/payouts", lambda p, c: p.create_payout(a_payout(c.account_id))),
    "find_payout": ("GET", "/v1/payouts", lambda p, c: p.find_payout(a_payout(c.account_id))),
    "find_dispute": ("GET", "/v1/disputes/*", lambda p, c: p.find_dispute(c.dispute_id)),
    "balance_transactions": ("GET", "/v1/balance_transactions", lambda p, _: list_books(p)),
}


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("name", CALLS)
async def test_it_says_what_a_fault_means(
    stripe: StripeDouble, provider: StripeProvider, counter: Counter, name: str, fault: Fault
) -> None:
    method, path, call = CALLS[name]
    stripe.fault(method, path, fault)
    # The SDK gives a key to every POST.
    in_use = fault is Fault.CONFLICT_409 and method == "POST"
    with pytest.raises(ProviderError) as refused:
        await call(provider, counter)
    assert type(refused.value) is (ProviderKeyInUse if in_use else MEANING[fault])
    assert not refused.value.key_is_spent
    assert stripe.api_key not in refused.value.message


# -- the worker's rule ----------------------------------------------------------------------


async def persist(
    armed: Armed,
    call: Callable[[str], Awaitable[object]],
    find: Callable[[], Awaitable[object]],
) -> object:
    """Ask until it is there, as the worker does."""
    calls = 1
    for _ in range(ATTEMPTS_MAX):
        try:
            return await call(key_of_call(REFERENCE, calls))
        except ProviderPermanent:
            raise
        except ProviderError as error:
            armed.over.set()  # what was slow is done now
            found = await find()
            if found is not None:
                return found
            calls += error.key_is_spent
    raise AssertionError("it never came about")


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("fault", Fault)
async def test_it_makes_one_transfer_whatever_breaks(
    stripe: StripeDouble, provider: StripeProvider, counter: Counter, fault: Fault, times: int
) -> None:
    request = a_transfer(counter.account_id)
    armed = stripe.fault("POST", "/v1/transfers", fault)
    if times == 2 and fault is not Fault.SLOW:
        stripe.fault("GET", "/v1/transfers", Fault.TOO_MANY_429)
    made = await persist(
        armed,
        lambda key: provider.create_transfer(msgspec.structs.replace(request, idempotency_key=key)),
        lambda: looked_up(lambda: provider.find_transfer(request)),
    )
    assert isinstance(made, ProviderTransfer)
    ours = [one for one in stripe.all("transfer").values() if one["transfer_group"] == REFERENCE]
    assert [one["id"] for one in ours] == [made.id]
    assert stripe.books.balance("available", counter.account_id)["inr"] == 1_000_000
    if times == 2 and fault is not Fault.SLOW:
        assert await provider.find_transfer(request) == made


async def looked_up(find: Callable[[], Awaitable[object]]) -> object:
    """The worker looks again until it gets an answer, before it asks for anything."""
    for _ in range(ATTEMPTS_MAX):
        try:
            return await find()
        except ProviderError:
            continue
    raise AssertionError("there was no answer")


@pytest.mark.parametrize("fault", Fault)
async def test_it_makes_one_payout_whatever_breaks(
    stripe: StripeDouble, provider: StripeProvider, counter: Counter, fault: Fault
) -> None:
    request = a_payout(counter.account_id)
    armed = stripe.fault("POST", "/v1/payouts", fault)
    made = await persist(
        armed,
        lambda key: provider.create_payout(msgspec.structs.replace(request, idempotency_key=key)),
        lambda: provider.find_payout(request),
    )
    assert isinstance(made, ProviderPayout)
    assert list(stripe.all("payout")) == [made.id]
    assert stripe.books.balance("available", counter.account_id)["inr"] == 0


@pytest.mark.parametrize("fault", Fault)
async def test_it_returns_a_transfer_once_whatever_breaks(
    stripe: StripeDouble, provider: StripeProvider, counter: Counter, fault: Fault
) -> None:
    """The call looks the transfer up by itself, so it is enough to ask again."""
    request = a_return(counter.transfer.id)
    armed = stripe.fault("POST", "/v1/transfers/*/reversals", fault)
    made = await persist(
        armed,
        lambda key: provider.return_transfer(msgspec.structs.replace(request, idempotency_key=key)),
        nothing,
    )
    assert made == msgspec.structs.replace(counter.transfer, returned_minor=500_000)
    assert len(stripe.all("transfer_reversal")) == 1
    assert stripe.books.balance("available", counter.account_id)["inr"] == 0


async def nothing() -> None:
    return None


@pytest.mark.parametrize("fault", Fault)
async def test_it_makes_one_account_whatever_breaks(
    stripe: StripeDouble, provider: StripeProvider, fault: Fault
) -> None:
    """By its reference alone: it takes another key by itself once Stripe has spent one."""
    armed = stripe.fault("POST", "/v1/accounts", fault)
    made = await persist(armed, lambda _: provider.create_account(BOB), nothing)
    (account,) = stripe.all("account")
    assert getattr(made, "id", None) == account
    assert await provider.create_account(BOB) == made
    assert list(stripe.all("account")) == [account]


async def test_it_gives_up_on_an_account_when_all_its_keys_are_spent(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    """Then there is none, and the next day the keys are good again."""
    for spent_keys in range(6):
        if spent_keys:  # these are answered as before, and nothing is wrong with that
            stripe.fault("POST", "/v1/accounts", Fault.SLOW, spent_keys, seconds=0)
        if spent_keys < 5:
            stripe.fault("POST", "/v1/accounts", Fault.ERROR_500)
        with pytest.raises(ProviderUnknown):
            await provider.create_account(BOB)
    assert stripe.all("account") == {}
    stripe.forget_keys()
    made = await provider.create_account(BOB)
    assert list(stripe.all("account")) == [made.id]


async def test_it_makes_no_other_account_a_day_later_while_it_knows_the_first(
    stripe: StripeDouble, provider: StripeProvider
) -> None:
    """Another name or address is another request, and still the same person."""
    made = await provider.create_account(BOB)
    moved = msgspec.structs.replace(BOB, email="bob@another.example")
    assert await provider.create_account(moved) == made
    assert list(stripe.all("account")) == [made.id]


# -- what is spent --------------------------------------------------------------------------


async def spent(call: Awaitable[object]) -> tuple[type[ProviderError], bool, bool]:
    with pytest.raises(ProviderError) as refused:
        await call
    error = refused.value
    return type(error), error.key_is_spent, error.was_repeated


async def test_it_says_whether_a_key_is_spent(
    stripe: StripeDouble, provider: StripeProvider, counter: Counter
) -> None:
    poor = a_payout(counter.account_id, amount_minor=500_001)
    assert await spent(provider.create_payout(poor)) == (ProviderTransient, True, False)
    assert await spent(provider.create_payout(poor)) == (ProviderTransient, True, True)
    much = a_transfer(counter.account_id, amount_minor=10_000_000)
    assert await spent(provider.create_transfer(much)) == (ProviderTransient, True, False)
    nobody = a_transfer("acct_unknown", reference="other")
    assert await spent(provider.create_transfer(nobody)) == (ProviderPermanent, True, False)
    stripe.fault("POST", "/v1/payouts", Fault.ERROR_500)
    broken = a_payout(counter.account_id, reference="broken")
    assert await spent(provider.create_payout(broken)) == (ProviderUnknown, False, False)
    assert await spent(provider.create_payout(broken)) == (ProviderUnknown, True, True)
    for fault in (Fault.TOO_MANY_429, Fault.CONFLICT_409, Fault.ERROR_500_THEN_SUCCESS):
        stripe.fault("POST", "/v1/payouts", fault)
        meant, is_spent, repeated = await spent(
            provider.create_payout(a_payout(counter.account_id, reference=fault.value))
        )
        assert not issubclass(meant, ProviderPermanent)
        assert (is_spent, repeated) == (False, False)


async def test_it_looks_at_every_page(
    stripe: StripeDouble,
    provider: StripeProvider,
    counter: Counter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first of many is the last one listed; pages of a connected account stay its own."""
    monkeypatch.setattr("earnest.providers.stripe_payouts.PAGE_OBJECTS", 2)
    wanted: list[PayoutRequest] = [
        a_payout(counter.account_id, reference=f"payout-{n}", amount_minor=100 + n)
        for n in range(7)
    ]
    made = [await provider.create_payout(one) for one in wanted]
    asked = len(stripe.requests)
    assert await provider.find_payout(wanted[0]) == made[0]
    pages = stripe.requests[asked:]
    assert len(pages) == 4
    assert {page.account for page in pages} == {counter.account_id}
    people = [msgspec.structs.replace(BOB, reference=f"party-{n}") for n in range(7)]
    accounts = [await provider.create_account(one) for one in people]
    stripe.forget_keys()
    stripe.fault("POST", "/v1/accounts", Fault.ERROR_500)
    with pytest.raises(ProviderUnknown):
        await provider.create_account(people[0])
    assert await provider.create_account(people[0]) == accounts[0]
    assert len(stripe.all("account")) == 8


# -- what is not ours -----------------------------------------------------------------------


async def test_it_takes_nothing_of_the_other_mode_for_ours(
    stripe: StripeDouble, counter: Counter
) -> None:
    live = provider_at(stripe.url, livemode=True)
    before = a_transfer(counter.account_id, reference="before")
    for call in (live.find_transfer(before), live.create_payout(a_payout(counter.account_id))):
        with pytest.raises(ProviderUnknown, match="mode"):  # no refusal: money may have moved
            await call
    for refused in (
        live.return_transfer(a_return(counter.transfer.id)),
        live.find_dispute(counter.dispute_id),
    ):
        with pytest.raises(ProviderPermanent, match="mode"):
            await refused
    assert stripe.all("transfer_reversal") == {}
    await live.close()


async def test_it_takes_nothing_of_another_amount_for_ours(
    stripe: StripeDouble, provider: StripeProvider, counter: Counter
) -> None:
    """Somebody made it by hand, with our reference. It is no refusal: money has moved."""
    await provider.create_payout(a_payout(counter.account_id))
    (payout,), (transfer,) = stripe.all("payout").values(), stripe.all("transfer").values()
    payout["amount"] += 1
    transfer["amount"] += 1
    with pytest.raises(ProviderUnknown, match="amount"):
        await provider.find_payout(a_payout(counter.account_id))
    with pytest.raises(ProviderUnknown, match="amount"):
        await provider.find_transfer(a_transfer(counter.account_id, reference="before"))


async def test_it_does_not_know_what_a_dispute_of_another_currency_took(
    stripe: StripeDouble, provider: StripeProvider, counter: Counter
) -> None:
    dispute = stripe.all("dispute")[counter.dispute_id]
    dispute["balance_transactions"][0]["currency"] = "usd"
    with pytest.raises(ProviderPermanent, match="currency"):
        await provider.find_dispute(counter.dispute_id)
