"""How every payment provider pays people: one suite, for the sandbox and for Stripe (its double).

Alice pays in, Bob is paid. Each test runs once for each shop.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from earnest.errors import (
    ProviderError,
    ProviderKeyReused,
    ProviderPermanent,
    ProviderTransient,
)
from earnest.providers.base import (
    PayoutAccount,
    ProviderPayout,
    ProviderPayoutState,
    ProviderTransfer,
)
from shop import BOB, Shop, a_payout, a_return, a_transfer, earn, payee
from town import NOON

AMOUNTS = [("INR", 1_250_050), ("SAR", 68_625), ("KWD", 5_120)]
UNKNOWN_ACCOUNTS = ["", "acct_unknown", "acct_test_" + "x" * 32, "acct_\0", "../refunds", "é"]


@pytest.fixture(params=["sandbox", "strict", "stripe"])
def shop(request: pytest.FixtureRequest) -> Shop:
    found: Shop = request.getfixturevalue(f"{request.param}_shop")
    return found


async def sent(shop: Shop) -> tuple[str, ProviderTransfer]:
    """Bob's account with 5,000.00 INR in it, and the transfer that brought them."""
    await earn(shop)
    bob = await payee(shop)
    return bob, await shop.provider.create_transfer(a_transfer(bob))


# -- accounts -------------------------------------------------------------------------------


async def test_it_makes_one_account_of_one_reference(shop: Shop) -> None:
    first = await shop.provider.create_account(BOB)
    assert await shop.another().create_account(BOB) == first
    changed = msgspec.structs.replace(BOB, email="", name="", country="AE", is_company=True)
    assert (await shop.provider.create_account(changed)).id == first.id
    other = msgspec.structs.replace(BOB, reference="party-huda")
    assert (await shop.provider.create_account(other)).id != first.id
    assert (await shop.paid_out())[0] == 2


async def test_it_makes_one_account_when_eight_ask_at_once(shop: Shop) -> None:
    asked = (shop.provider.create_account(BOB) for _ in range(8))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    made = {one.id for one in answers if isinstance(one, PayoutAccount)}
    assert made == {(await shop.provider.create_account(BOB)).id}
    refused = [one for one in answers if not isinstance(one, PayoutAccount)]
    assert all(isinstance(one, ProviderError) for one in refused)
    assert not any(isinstance(one, ProviderPermanent) for one in refused)
    assert (await shop.paid_out())[0] == 1


async def test_it_says_who_can_be_paid_and_what_they_lack(shop: Shop) -> None:
    made = await shop.provider.create_account(BOB)
    assert made.is_payable is not shop.provider.needs_onboarding
    assert (made.lacks == ()) is made.is_payable
    assert await shop.another().find_account(made.id) == made
    if shop.provider.needs_onboarding:
        await shop.onboard(made.id)
        assert ("account.updated", made.id, made.id) in await shop.told()
    assert await shop.provider.find_account(made.id) == PayoutAccount(made.id, True)


@pytest.mark.parametrize("changes", [{"country": "KP"}, {"country": "in"}, {"reference": ""}])
async def test_it_makes_no_account_that_could_not_be_paid(
    shop: Shop, changes: dict[str, Any]
) -> None:
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_account(msgspec.structs.replace(BOB, **changes))
    assert await shop.paid_out() == (0, 0, 0, 0)


@pytest.mark.parametrize("account_id", UNKNOWN_ACCOUNTS)
async def test_it_knows_no_account_that_it_did_not_make(shop: Shop, account_id: str) -> None:
    await sent(shop)
    assert await shop.provider.find_account(account_id) is None
    assert await shop.provider.find_payout(a_payout(account_id, reference="other")) is None
    other = {"reference": "other"}
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_onboarding_link(
            account_id, return_url="https://shop.example/", refresh_url="https://shop.example/"
        )
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_transfer(a_transfer(account_id, **other))
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_payout(a_payout(account_id, **other))
    assert await shop.paid_out() == (1, 1, 0, 0)


async def test_it_gives_a_new_link_each_time(shop: Shop) -> None:
    made = await shop.provider.create_account(BOB)
    urls = {"return_url": "https://shop.example/done?x=1", "refresh_url": "https://shop.example/r"}
    links = [await shop.provider.create_onboarding_link(made.id, **urls) for _ in range(3)]
    assert len({link.url for link in links}) == 3
    for link in links:
        assert link.url.startswith("http")
        assert timedelta(0) < link.expires_at - NOON <= timedelta(hours=1)
    for wrong in ("", "javascript:alert(1)", "/path"):
        with pytest.raises(ProviderPermanent):
            await shop.provider.create_onboarding_link(made.id, **(urls | {"return_url": wrong}))


async def test_it_sends_nothing_to_who_cannot_be_paid_yet(shop: Shop) -> None:
    if not shop.provider.needs_onboarding:
        pytest.skip("everybody can be paid there")
    await earn(shop)
    made = await shop.provider.create_account(BOB)
    for refused in (
        shop.provider.create_transfer(a_transfer(made.id)),
        shop.provider.create_payout(a_payout(made.id)),
    ):
        with pytest.raises(ProviderPermanent):
            await refused
    assert await shop.paid_out() == (1, 0, 0, 0)
    await shop.onboard(made.id)
    again = a_transfer(made.id, idempotency_key="payout-1.2")
    assert (await shop.provider.create_transfer(again)).amount_minor == 500_000


# -- transfers ------------------------------------------------------------------------------


@pytest.mark.parametrize(("currency", "amount_minor"), AMOUNTS)
async def test_it_pays_to_the_bank_in_two_steps(
    shop: Shop, currency: str, amount_minor: int
) -> None:
    of = {"amount_minor": amount_minor, "currency": currency}
    await earn(shop, amount_minor, currency)
    bob = await payee(shop)
    transfer, payout = a_transfer(bob, **of), a_payout(bob, **of)
    assert await shop.provider.find_transfer(transfer) is None
    made = await shop.provider.create_transfer(transfer)
    assert (made.amount_minor, made.currency, made.returned_minor) == (amount_minor, currency, 0)
    assert await shop.another().find_transfer(transfer) == made
    assert await shop.provider.find_payout(payout) is None
    begun = await shop.provider.create_payout(payout)
    assert (begun.state, begun.failure) == (ProviderPayoutState.PENDING, "")
    assert (begun.amount_minor, begun.currency) == (amount_minor, currency)
    assert await shop.another().find_payout(payout) == begun
    await shop.settle(payout, "paid")
    done = await shop.provider.find_payout(payout)
    assert done == msgspec.structs.replace(begun, state=ProviderPayoutState.PAID)
    assert ("payout.paid", bob, begun.id) in await shop.told()
    assert await shop.paid_out() == (1, 1, 0, 1)


async def test_it_makes_one_transfer_and_one_payout_of_one_key(shop: Shop) -> None:
    bob, transfer = await sent(shop)
    begun = await shop.provider.create_payout(a_payout(bob))
    for provider in (shop.provider, shop.another()):
        assert await provider.create_transfer(a_transfer(bob)) == transfer
        assert await provider.create_payout(a_payout(bob)) == begun
    for changes in ({"amount_minor": 1}, {"currency": "SAR"}, {"reference": "other"}):
        other: dict[str, Any] = {"idempotency_key": "payout-1", **changes}
        with pytest.raises(ProviderKeyReused):
            await shop.provider.create_transfer(a_transfer(bob, **other))
        with pytest.raises(ProviderKeyReused):
            await shop.provider.create_payout(a_payout(bob, **other))
    assert await shop.paid_out() == (1, 1, 0, 1)


async def test_it_makes_one_of_each_when_eight_ask_at_once(shop: Shop) -> None:
    await earn(shop)
    bob = await payee(shop)
    calls: tuple[Callable[[], Awaitable[ProviderTransfer | ProviderPayout]], ...] = (
        lambda: shop.provider.create_transfer(a_transfer(bob)),
        lambda: shop.provider.create_payout(a_payout(bob)),
    )
    for call in calls:
        answers = await asyncio.gather(*(call() for _ in range(8)), return_exceptions=True)
        made = {one.id for one in answers if not isinstance(one, BaseException)}
        assert made == {(await call()).id}
        refused = [one for one in answers if isinstance(one, BaseException)]
        assert all(isinstance(one, ProviderError) for one in refused)
        assert not any(isinstance(one, ProviderPermanent) for one in refused)
    assert await shop.paid_out() == (1, 1, 0, 1)


async def test_it_finds_what_it_made_among_others(shop: Shop) -> None:
    await earn(shop)
    bob = await payee(shop)
    wanted = [{"reference": f"payout-{n}", "amount_minor": 100 + n} for n in range(5)]
    transfers = [await shop.provider.create_transfer(a_transfer(bob, **one)) for one in wanted]
    payouts = [await shop.provider.create_payout(a_payout(bob, **one)) for one in wanted]
    other = shop.another()
    assert [await other.find_transfer(a_transfer(bob, **one)) for one in wanted] == transfers
    assert [await other.find_payout(a_payout(bob, **one)) for one in wanted] == payouts
    for unknown in ("payout-9", "", "PAYOUT-1"):
        assert await other.find_transfer(a_transfer(bob, reference=unknown)) is None
        assert await other.find_payout(a_payout(bob, reference=unknown)) is None


@pytest.mark.parametrize("changes", [{"amount_minor": 0}, {"amount_minor": -1}, {"currency": "ZZ"}])
async def test_it_sends_no_amount_that_is_none(shop: Shop, changes: dict[str, Any]) -> None:
    await earn(shop)
    bob = await payee(shop)
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_transfer(a_transfer(bob, **changes))
    with pytest.raises(ProviderPermanent):
        await shop.provider.create_payout(a_payout(bob, **changes))
    assert await shop.paid_out() == (1, 0, 0, 0)


async def test_it_sends_no_more_than_our_balance_has(shop: Shop) -> None:
    """Nothing happened; the key keeps to its answer, and another one works once there is enough."""
    bob, first = await sent(shop)
    more = a_transfer(bob, reference="payout-2", amount_minor=700_001)
    for _ in range(2):
        with pytest.raises(ProviderTransient) as poor:
            await shop.provider.create_transfer(more)
        assert poor.value.key_is_spent
        assert await shop.provider.find_transfer(more) is None
        await earn(shop, 100)
    with pytest.raises(ProviderKeyReused):
        await shop.provider.create_transfer(msgspec.structs.replace(more, amount_minor=1))
    again = msgspec.structs.replace(more, idempotency_key="payout-2.2")
    second = await shop.provider.create_transfer(again)
    assert await shop.provider.find_transfer(more) == second != first
    assert await shop.paid_out() == (1, 2, 0, 0)


async def test_it_never_sends_money_twice_that_many_want_at_once(shop: Shop) -> None:
    """Five of eight find something in our balance, three of those five in the account's."""
    await earn(shop)
    bob = await payee(shop)
    wanted = [{"reference": f"payout-{n}", "amount_minor": 240_000} for n in range(8)]
    asked = (shop.provider.create_transfer(a_transfer(bob, **one)) for one in wanted)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, ProviderTransfer) for one in answers) == 5
    assert sum(isinstance(one, ProviderTransient) for one in answers) == 3
    more = [{"reference": f"payout-{n}", "amount_minor": 400_000} for n in range(8)]
    paying = (shop.provider.create_payout(a_payout(bob, **one)) for one in more)
    outcomes = await asyncio.gather(*paying, return_exceptions=True)
    assert sum(isinstance(one, ProviderPayout) for one in outcomes) == 3
    assert sum(isinstance(one, ProviderTransient) for one in outcomes) == 5
    assert await shop.paid_out() == (1, 5, 0, 3)


async def test_it_counts_each_currency_for_itself(shop: Shop) -> None:
    await earn(shop, 100_000, "INR")
    await earn(shop, 50_000, "SAR")
    bob = await payee(shop)
    with pytest.raises(ProviderTransient):
        await shop.provider.create_transfer(
            a_transfer(bob, amount_minor=50_001, currency="SAR", reference="much")
        )
    await shop.provider.create_transfer(a_transfer(bob, amount_minor=50_000, currency="SAR"))
    with pytest.raises(ProviderTransient):
        await shop.provider.create_payout(a_payout(bob, amount_minor=1, currency="INR"))


# -- payouts and returns --------------------------------------------------------------------


async def test_it_pays_out_no_more_than_the_account_has(shop: Shop) -> None:
    bob, _ = await sent(shop)
    more = a_payout(bob, amount_minor=500_001)
    for _ in range(2):
        with pytest.raises(ProviderTransient) as poor:
            await shop.provider.create_payout(more)
        assert poor.value.key_is_spent
        assert await shop.provider.find_payout(more) is None
    await shop.provider.create_transfer(a_transfer(bob, reference="payout-2", amount_minor=1))
    again = msgspec.structs.replace(more, idempotency_key="payout-1.2")
    begun = await shop.provider.create_payout(again)
    assert await shop.provider.find_payout(more) == begun
    assert await shop.paid_out() == (1, 2, 0, 1)


async def test_it_takes_back_what_could_not_be_paid_out(shop: Shop) -> None:
    bob, transfer = await sent(shop)
    payout, back = a_payout(bob), a_return(transfer.id)
    await shop.provider.create_payout(payout)
    with pytest.raises(ProviderTransient) as poor:  # it is on its way to the bank
        await shop.provider.return_transfer(a_return(transfer.id, idempotency_key="early"))
    assert poor.value.key_is_spent
    await shop.settle(payout, "failed")
    failed = await shop.provider.find_payout(payout)
    assert failed is not None
    assert (failed.state, failed.failure) == (ProviderPayoutState.FAILED, "account_closed")
    assert ("payout.failed", bob, failed.id) in await shop.told()
    returned = msgspec.structs.replace(transfer, returned_minor=500_000)
    assert await shop.provider.return_transfer(back) == returned
    assert await shop.another().return_transfer(back) == returned
    other_key = a_return(transfer.id, idempotency_key="payout-1.2")
    assert await shop.provider.return_transfer(other_key) == returned
    assert await shop.provider.find_transfer(a_transfer(bob)) == returned
    assert await shop.paid_out() == (1, 1, 1, 1)
    # All of it is ours again, and can be sent to somebody else.
    all_of_it = a_transfer(bob, reference="payout-3", amount_minor=1_200_000)
    assert (await shop.provider.create_transfer(all_of_it)).amount_minor == 1_200_000


async def test_it_sends_a_payout_back_that_had_been_paid(shop: Shop) -> None:
    bob, transfer = await sent(shop)
    payout = a_payout(bob)
    await shop.provider.create_payout(payout)
    for state in ("paid", "failed"):
        await shop.settle(payout, state)
        found = await shop.provider.find_payout(payout)
        assert found is not None
        assert found.state == state
    back = await shop.provider.return_transfer(a_return(transfer.id))
    assert back.returned_minor == 500_000


async def test_it_finds_the_last_payout_of_a_reference(shop: Shop) -> None:
    """After one that failed, the same money can be paid out again."""
    bob, _ = await sent(shop)
    payout = a_payout(bob)
    first = await shop.provider.create_payout(payout)
    await shop.settle(payout, "failed")
    again = msgspec.structs.replace(payout, idempotency_key="payout-1.2")
    second = await shop.provider.create_payout(again)
    assert first.id != second.id
    assert await shop.provider.find_payout(payout) == second
    assert await shop.paid_out() == (1, 1, 0, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 499_999},
        {"amount_minor": 500_001},
        {"currency": "SAR"},
        {"transfer_id": "tr_unknown"},
        {"transfer_id": ""},
        {"transfer_id": "\0"},
    ],
)
async def test_it_returns_all_of_what_it_sent_or_nothing(
    shop: Shop, changes: dict[str, Any]
) -> None:
    bob, transfer = await sent(shop)
    with pytest.raises(ProviderPermanent):
        await shop.provider.return_transfer(
            msgspec.structs.replace(a_return(transfer.id), **changes)
        )
    assert await shop.provider.find_transfer(a_transfer(bob)) == transfer
    assert await shop.paid_out() == (1, 1, 0, 0)


async def test_it_returns_once_when_eight_ask_at_once(shop: Shop) -> None:
    _, transfer = await sent(shop)
    asked = (
        shop.provider.return_transfer(a_return(transfer.id, idempotency_key=f"payout-1.{n % 3}"))
        for n in range(8)
    )
    answers = await asyncio.gather(*asked, return_exceptions=True)
    returned = msgspec.structs.replace(transfer, returned_minor=500_000)
    assert returned in answers
    for one in answers:
        assert one == returned or isinstance(one, ProviderError)
        assert not isinstance(one, ProviderPermanent)
    assert await shop.paid_out() == (1, 1, 1, 0)
