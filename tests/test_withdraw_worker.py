"""What the worker does with payouts: each call is made once, whatever happens between the intent,
the call and what is written down of it; what cannot be paid out comes back (invariant 14)."""

import asyncio
from typing import Any

import msgspec
import pytest

from earnest.actions import payouts
from earnest.errors import ProviderPermanent, ProviderTransient, ProviderUnknown
from earnest.store.db import Pool
from hesitant import Hesitant, Killed, hesitant
from life import Life, accepted
from paying_out import balance, fetch, later, seen, sound, withdrawn, work
from refusals import only_for, refused, refuses_ids
from web import Cast

LEGS = ("create_transfer", "create_payout", "return_transfer")
STATE = "SELECT state, leg, attempts, last_error, due_at IS NULL AS is_over FROM payout ORDER BY id"
AT_PROVIDER = """
SELECT (SELECT count(*) FROM sandbox.transfer), (SELECT count(*) FROM sandbox.payout)
"""
EVENTS = """
SELECT e.type FROM event AS e WHERE e.subject LIKE 'payout:%' ORDER BY e.recorded_at, e.id
"""
ENTRIES = "/api/freelancer/wallet/earnings/"


async def waiting(cast: Cast) -> Any:
    """Bob has withdrawn 800 of 10,800."""
    await Life.at(cast, "released")
    return await withdrawn(cast.bob, 800)


async def state(cast: Cast) -> tuple[Any, ...]:
    """Of the only payout: state, leg, attempts, what the provider said last, whether it is over."""
    (found,) = await fetch(cast.app, STATE)
    return found


async def told(cast: Cast) -> list[str]:
    return [row[0] for row in await fetch(cast.app, EVENTS)]


async def bounce(cast: Cast, payout: Any) -> None:
    """Bob's bank does not take it."""
    answer = await cast.anybody.post(f"/sandbox/payouts/{payout['_id']}/fail")
    assert answer.status_code == 200, answer.text


async def in_the_wallet_again(cast: Cast, payout: Any) -> None:
    assert await balance(cast.bob) == 10800
    assert (await seen(cast.bob, payout))["status"] == "failed"
    assert (await state(cast))[0] == "failed"
    assert await payouts.send_due(cast.app.state.core) == 0
    await sound(cast.app)


# -- it goes well -----------------------------------------------------------------------------


async def test_it_takes_its_steps_and_tells_of_each(cast: Cast) -> None:
    payout = await waiting(cast)
    provider = hesitant(cast.app, "")
    await work(cast.app)
    assert provider.asked == [
        ("create_transfer", payout["_id"]),
        ("create_payout", payout["_id"]),
    ]
    assert await told(cast) == [
        "payout.requested",
        "payout.sent",
        "payout.transferred",
        "payout.sent",
        "payout.accepted",
        "payout.sent",
        "payout.completed",
    ]
    assert await fetch(cast.app, AT_PROVIDER) == [(1, 1)]
    await sound(cast.app)


async def test_it_takes_the_longest_due_first_and_comes_back_for_the_rest(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payouts, "AT_ONCE_MAX", 2)
    await Life.at(cast, "released")
    for amount in (1, 2, 3):
        await withdrawn(cast.bob, amount)
    core = cast.app.state.core
    # Three transfers and three payouts; after that all are on their way to a bank.
    assert [await payouts.send_due(core) for _ in range(4)] == [2, 2, 2, 0]
    assert await fetch(cast.app, AT_PROVIDER) == [(3, 3)]


# -- it is killed -----------------------------------------------------------------------------


@pytest.mark.parametrize("call", LEGS)
@pytest.mark.parametrize("deaf", [False, True], ids=["before the call", "after the call"])
async def test_killed_around_a_call_it_goes_on_and_nothing_is_made_twice(
    cast: Cast, call: str, deaf: bool
) -> None:
    payout = await waiting(cast)
    provider = hesitant(cast.app, call, Killed(), deaf=deaf)
    if call == "return_transfer":
        await work(cast.app, turns=2, seconds=0)
        await bounce(cast, payout)
        await later(cast.app, 3600)
    with pytest.raises(Killed):
        await work(cast.app, turns=4, seconds=0)
    assert (await state(cast))[0] == "sent"
    assert await payouts.send_due(cast.app.state.core) == 0, "its lease is not over"
    await later(cast.app, 61)
    await work(cast.app)
    keys = [key for name, key in provider.asked if name == call]
    assert keys == [keys[0]] * (1 if deaf else 2)
    assert await fetch(cast.app, AT_PROVIDER) == [(1, 1)]
    if call == "return_transfer":
        await in_the_wallet_again(cast, payout)
    else:
        assert (await seen(cast.bob, payout))["status"] == "paid"
        await sound(cast.app)


# -- nobody knows -----------------------------------------------------------------------------


@pytest.mark.parametrize("call", LEGS)
@pytest.mark.parametrize(
    ("word", "deaf"),
    [
        (ProviderTransient("The line is busy."), False),
        (ProviderUnknown("Nobody answered."), False),
        (ProviderUnknown("Nobody answered."), True),
    ],
    ids=["it says that it did nothing", "it did nothing", "it was done"],
)
async def test_an_unknown_outcome_is_looked_up_never_guessed(
    cast: Cast, call: str, word: Exception, deaf: bool
) -> None:
    payout = await waiting(cast)
    provider = hesitant(cast.app, call, word, word, deaf=deaf)
    if call == "return_transfer":
        await work(cast.app, turns=2, seconds=0)
        await bounce(cast, payout)
        await later(cast.app, 3600)
    await work(cast.app, turns=12)
    made = [name for name, _ in provider.asked].count(call)
    assert made == (1 if deaf else 3)
    assert await fetch(cast.app, AT_PROVIDER) == [(1, 1)]
    if call == "return_transfer":
        await in_the_wallet_again(cast, payout)
    else:
        assert (await seen(cast.bob, payout))["status"] == "paid"
        await sound(cast.app)


async def test_it_is_not_out_for_more_than_a_quarter_of_an_hour(cast: Cast) -> None:
    """However often nobody knows: an hour of it, then it is done within ten minutes."""
    await waiting(cast)
    provider = hesitant(cast.app, "create_transfer", *[ProviderUnknown("Silence.")] * 10)
    while provider.errors:
        await payouts.send_due(cast.app.state.core)
        await later(cast.app, 60)
    for _ in range(10):
        await later(cast.app, 60)
        await payouts.send_due(cast.app.state.core)
    assert (await state(cast))[:2] == ("sent", "payout")


async def test_a_spent_key_is_followed_by_another_after_a_lookup(cast: Cast) -> None:
    payout = await waiting(cast)
    spent = ProviderUnknown("It remembers a failure.")
    spent.key_is_spent = True
    provider = hesitant(cast.app, "create_transfer", ProviderUnknown("It failed."), spent)
    await work(cast.app)
    keys = [key for name, key in provider.asked if name == "create_transfer"]
    assert keys == [payout["_id"], payout["_id"], f"{payout['_id']}.2"]
    assert await fetch(cast.app, AT_PROVIDER) == [(1, 1)]
    await sound(cast.app)


async def test_too_little_at_the_provider_is_waited_for(cast: Cast) -> None:
    payout = await waiting(cast)
    poor = ProviderTransient("Our balance there is too small.")
    poor.key_is_spent = True
    provider = hesitant(cast.app, "create_transfer", *[poor] * 3)
    for _ in range(3):
        await payouts.send_due(cast.app.state.core)
        assert (await state(cast))[0] == "unknown", "another key only after a lookup"
        await later(cast.app, 600)
    await work(cast.app)
    assert len({key for name, key in provider.asked if name == "create_transfer"}) == 4
    assert (await seen(cast.bob, payout))["status"] == "paid"
    await sound(cast.app)


# -- it is refused ----------------------------------------------------------------------------


async def test_a_transfer_that_is_refused_is_in_the_wallet_at_once(cast: Cast) -> None:
    payout = await waiting(cast)
    hesitant(cast.app, "create_transfer", ProviderPermanent("This account may not be paid."))
    await payouts.send_due(cast.app.state.core)
    await in_the_wallet_again(cast, payout)
    shown = await seen(cast.bob, payout)
    assert shown["failure"] == "This account may not be paid."
    assert (shown["providerTransferId"], shown["providerPayoutId"]) == (None, None)
    assert await fetch(cast.app, AT_PROVIDER) == [(0, 0)]
    entries = (await cast.bob.get(f"{ENTRIES}{cast.bob.id}")).json()["data"]["transactions"]
    assert [entry["description"] for entry in entries[:2]] == ["Withdrawal returned", "Withdrawal"]


async def test_a_payout_that_is_refused_is_called_back(cast: Cast) -> None:
    payout = await waiting(cast)
    hesitant(cast.app, "create_payout", ProviderPermanent("There is no bank account."))
    await work(cast.app)
    await in_the_wallet_again(cast, payout)
    assert (await seen(cast.bob, payout))["failure"] == "There is no bank account."
    assert await fetch(cast.app, "SELECT count(*) FROM sandbox.payout") == [(0,)]


@pytest.mark.parametrize("after", [0, 86_400 * 3], ids=["on its way", "days after it was paid"])
async def test_what_a_bank_sends_back_is_in_the_wallet_again(cast: Cast, after: int) -> None:
    payout = await waiting(cast)
    await work(cast.app, turns=2 if not after else 4, seconds=3600 if after else 0)
    if after:
        assert (await seen(cast.bob, payout))["status"] == "paid"
        await later(cast.app, after)
    await bounce(cast, payout)
    if after:
        return  # without the provider's event nobody asks again; see test_event_hints
    await later(cast.app, 3600)
    await work(cast.app)
    await in_the_wallet_again(cast, payout)
    assert "The bank did not take the money" in (await seen(cast.bob, payout))["failure"]


async def test_revenue_is_not_what_came_back(cast: Cast) -> None:
    await waiting(cast)
    hesitant(cast.app, "create_transfer", ProviderPermanent("No."))
    await payouts.send_due(cast.app.state.core)
    report = await cast.bob.get(f"/api/freelancer/wallet/user-sales-report/{cast.bob.id}")
    (month,) = accepted(report)["data"]
    assert (month["totalRevenue"], month["totalTransactions"]) == (10800, 1)


async def test_another_account_of_ours_is_not_asked(cast: Cast) -> None:
    payout = await waiting(cast)
    core = cast.app.state.core
    await payouts.send_due(msgspec.structs.replace(core, provider_account=2))
    await in_the_wallet_again(cast, payout)


# -- an operator has to look ------------------------------------------------------------------


async def stuck(cast: Cast) -> Any:
    payout = await waiting(cast)
    hesitant(cast.app, "create_payout", ProviderPermanent("There is no bank account."))
    await work(cast.app, turns=2, seconds=0)
    hesitant(cast.app, "return_transfer", ProviderPermanent("It was paid out already."))
    await work(cast.app, turns=1)
    assert (await state(cast))[:2] == ("stuck", "return")
    return payout


async def test_what_does_not_come_back_waits_for_an_admin(cast: Cast) -> None:
    payout = await stuck(cast)
    assert await balance(cast.bob) == 10000
    assert (await seen(cast.bob, payout))["status"] == "pending"
    await sound(cast.app)
    listed = accepted(await cast.olga.get("/api/admin/payouts", params={"status": "stuck"}))
    (one,) = listed["data"]
    assert (one["_id"], one["state"], one["leg"]) == (payout["_id"], "stuck", "return")
    assert one["lastError"] == "It was paid out already."
    assert (one["ownerName"], one["businessName"]) == (cast.bob.name, "Marketplace")
    assert one["dueAt"] is None
    retry = f"/api/admin/payouts/{payout['_id']}/retry"
    answers = await asyncio.gather(*(cast.olga.put(retry) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 4
    await work(cast.app)
    await in_the_wallet_again(cast, payout)


async def test_only_admins_try_again_and_only_what_is_stuck(cast: Cast) -> None:
    payout = await stuck(cast)
    retry = "/api/admin/payouts/{}/retry"
    await only_for(cast, lambda who: who.get("/api/admin/payouts"), cast.olga)
    await refuses_ids(cast, lambda one: cast.olga.put(retry.format(one)), payout["_id"])
    for who in (cast.bob, cast.alice):
        await refused(cast, who.put(retry.format(payout["_id"])), 403)
    accepted(await cast.olga.put(retry.format(payout["_id"])))
    again = cast.olga.put(retry.format(payout["_id"]))
    await refused(cast, again, 400, "This payout does not wait for an operator.")
    bad = cast.olga.get("/api/admin/payouts", params={"status": "lost"})
    await refused(cast, bad, 400)


# -- several workers --------------------------------------------------------------------------


async def test_workers_at_once_tell_the_provider_once(cast: Cast) -> None:
    await Life.at(cast, "released")
    for amount in range(1, 9):
        await withdrawn(cast.bob, amount)
    provider = hesitant(cast.app, "")
    core = cast.app.state.core
    for _ in range(3):
        await asyncio.gather(*(payouts.send_due(core) for _ in range(4)))
    assert len(provider.asked) == len(set(provider.asked)) == 16
    assert await fetch(cast.app, AT_PROVIDER) == [(8, 8)]
    await sound(cast.app)


async def test_a_slow_worker_and_the_one_that_takes_over_pay_once(cast: Cast, pool: Pool) -> None:
    payout = await waiting(cast)
    first = cast.app.state.core
    gate = asyncio.Event()

    class Slow(Hesitant):
        async def wait(self, request: Any) -> Any:
            await gate.wait()
            return await self.behind.create_transfer(request)

        def __getattr__(self, name: str) -> Any:
            return self.wait if name == "create_transfer" else super().__getattr__(name)

    slow = msgspec.structs.replace(first, provider=Slow(first.provider, "", [], deaf=False))
    waits = asyncio.create_task(payouts.send_due(slow))
    await asyncio.sleep(0.2)
    await later(cast.app, 61)
    await payouts.send_due(first)
    gate.set()
    await waits
    await work(cast.app)
    assert await fetch(cast.app, AT_PROVIDER) == [(1, 1)]
    assert (await seen(cast.bob, payout))["status"] == "paid"
    await sound(cast.app)
