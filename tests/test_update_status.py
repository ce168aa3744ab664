"""C10: the status of the work, PUT /api/freelancer/contract/update-status/{contractId}."""

import re
from typing import Any

import httpx
import pytest

from balances import amounts, balances
from life import Life, accepted
from refusals import only_for, refused, refuses_ids
from web import Caller, Cast

PATH = "/api/freelancer/contract/update-status"
STATUSES = ("Pending", "Started", "Ongoing", "Completed", "Canceled")

# For a paid contract: from each status shown, where one may go. All else is 400.
ALLOWED = {
    "Pending": {"Started", "Canceled"},
    "Started": {"Ongoing", "Canceled"},
    "Ongoing": {"Completed", "Canceled"},
    "Completed": set(),
    "Canceled": set(),
}
POINTS = {
    "Pending": "paid",
    "Started": "started",
    "Ongoing": "ongoing",
    "Completed": "completed",
    "Canceled": "canceled",
}


async def put(who: Caller, contract: str, status: Any) -> httpx.Response:
    return await who.put(f"{PATH}/{contract}", json={"status": status})


# -- the table --------------------------------------------------------------------------------


@pytest.mark.abuse(49)
@pytest.mark.parametrize("shown", STATUSES)
async def test_it_goes_where_the_table_says(cast: Cast, shown: str) -> None:
    life = await Life.at(cast, POINTS[shown])
    for wanted in STATUSES:
        if wanted not in ALLOWED[shown]:
            text = f"Invalid status transition from {shown} to {wanted}"
            await refused(cast, life.status(wanted), 400, text)
    for wanted in sorted(ALLOWED[shown]):
        life = await Life.at(cast, POINTS[shown])
        before = await life.seen()
        assert before["status"] == shown
        accepted(await life.status(wanted))
        seen = await life.seen()
        assert seen["status"] == wanted
        steps = [one["status"] for one in seen["statusHistory"]]
        assert steps == [*[one["status"] for one in before["statusHistory"]], wanted]


@pytest.mark.abuse(49)
async def test_it_goes_nowhere_once_the_money_is_on_its_way(cast: Cast) -> None:
    for point in ("requested", "released", "refunded"):
        life = await Life.at(cast, point)
        shown = "Canceled" if point == "refunded" else "Completed"
        for wanted in STATUSES:
            text = f"Invalid status transition from {shown} to {wanted}"
            await refused(cast, life.status(wanted), 400, text)


# -- happy path -------------------------------------------------------------------------------


async def test_it_answers_with_the_contract_twice(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    body = accepted(await life.status("Ongoing"))
    assert body.pop("message") == "Contract status changed"
    contract = body.pop("contract")
    assert body == contract
    assert (contract["_id"], contract["status"]) == (life.contract, "Ongoing")
    assert (contract["clientId"], contract["freelancerId"]) == (cast.alice.id, cast.bob.id)
    assert (contract["jobId"], contract["__v"]) == (life.job, 0)


async def test_it_keeps_every_step_with_its_day(cast: Cast) -> None:
    life = await Life.at(cast, "paid")
    days = []
    for step in (life.approve, life.ongoing, life.complete):
        advanced = await cast.anybody.post("/sandbox/clock", json={"advance_seconds": 86400})
        year, month, day = accepted(advanced)["now"][2:10].split("-")
        days.append(f"{day}-{month}-{year}")
        await step()
    history = (await life.seen())["statusHistory"]
    assert [one["status"] for one in history] == ["Started", "Ongoing", "Completed"]
    assert [one["timestamp"] for one in history] == days
    ids = [one["_id"] for one in history]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(r"[0-9a-f]{24}", one) for one in ids)
    assert [one["_id"] for one in (await life.seen())["statusHistory"]] == ids


@pytest.mark.abuse(53)
async def test_it_cancels_a_paid_contract_with_a_refund_pending(cast: Cast) -> None:
    for point, moved in (
        ("paid", amounts("45000", "0", "5000", "-50000")),
        ("started", amounts("38250", "6750", "5000", "-50000")),
        ("ongoing", amounts("27000", "18000", "5000", "-50000")),
    ):
        life = await Life.at(cast, point, rate=50000)
        before = await balances(cast)
        accepted(await life.status("Canceled"))
        seen = await life.seen()
        assert (seen["status"], seen["canceledBy"]) == ("Canceled", "Freelancer")
        assert (seen["escrowPaid"], seen["releaseFundStatus"]) == (True, "NotRequested")
        assert await balances(cast) == before
        await life.refund()
        assert (await balances(cast)).less(before) == moved


async def test_it_cancels_an_unpaid_contract_for_good(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    accepted(await life.status("Canceled"))
    refund = cast.olga.put(f"/api/admin/escrow/refund-client/{life.contract}/{cast.alice.id}")
    await refused(cast, refund, 400, "Nothing is held for this contract.")
    job = accepted(await cast.alice.get(f"/api/client/job/job-details/{life.job}"))["data"]
    assert (job["status"], job["hiredFreelancer"]) == ("Open", None)


# -- refusals: gates on consent and money -----------------------------------------------------


@pytest.mark.abuse(52)
async def test_it_lets_nobody_work_unpaid(cast: Cast) -> None:
    life = await Life.at(cast, "created")
    await life.approve()
    text = "The contract has to be paid for first."
    await refused(cast, life.status("Ongoing"), 400, text)
    text = "Invalid status transition from Started to Completed"
    await refused(cast, life.status("Completed"), 400, text)
    await life.pay()
    await life.ongoing()


@pytest.mark.abuse(52)
async def test_it_lets_nobody_work_without_consent(cast: Cast) -> None:
    for point in ("created", "paid"):
        life = await Life.at(cast, point)
        for wanted in ("Ongoing", "Completed"):
            text = f"Invalid status transition from Pending to {wanted}"
            await refused(cast, life.status(wanted), 400, text)


# -- refusals: the body -----------------------------------------------------------------------

# For each point, the word that would be taken there and what others make of it.
MISSPELLED = {
    "created": ("Started", ("started", "STARTED", "Starte\u0501", "\u0405tarted", "Approved")),
    "started": ("Ongoing", ("ongoing", "\u041engoing", "\uff2fngoing", "On\u0261oing", "On going")),
    "ongoing": ("Completed", ("completed", "\u0421ompleted", "\u2102ompleted", "Complete", "Done")),
    "paid": ("Canceled", ("Cancelled", "canceled", "\u0421anceled", "Cance\u217ced", "Refunded")),
}
AROUND = (
    "{} ",
    " {}",
    "{}\n",
    "{}\t",
    "{}\r\n",
    "{}\u00a0",
    "\u00a0{}",
    "{}\u200b",
    "\ufeff{}",
    "{}\u0301",
    "\u202e{}",
    "{}\u0000",
    "{}\x85",
    "{0}{0}",
    "{},Canceled",
    "{};",
    '"{}"',
    "status={}",
)
NO_WORDS: tuple[Any, ...] = ("", " ", "null", "undefined", "0", "x" * 201, "x" * 10_000)
NOT_TEXT: tuple[Any, ...] = (None, 1, 0, 1.5, True, False, [], {}, [[]], {"$ne": "Started"})


@pytest.mark.abuse(50)
@pytest.mark.parametrize("point", MISSPELLED)
async def test_it_wants_one_of_its_words(cast: Cast, point: str) -> None:
    life = await Life.at(cast, point)
    word, others = MISSPELLED[point]
    around = [pattern.format(word) for pattern in AROUND]
    turned = (word.swapcase(), word[::-1], word[:-1])
    for wrong in (*others, *around, *turned, *NO_WORDS, *NOT_TEXT, [word], {"status": word}):
        text = await refused(cast, put(cast.bob, life.contract, wrong), 400)
        assert "transition" not in text, f"{wrong!a} was read as a status"
    accepted(await life.status(word))
    assert (await life.seen())["status"] == word


async def test_it_wants_a_status(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    url = f"{PATH}/{life.contract}"
    for body in ({}, {"Status": "Ongoing"}, {"state": "Ongoing"}):
        text = await refused(cast, cast.bob.put(url, json=body), 400)
        assert text == "status is required"
    await refused(cast, cast.bob.put(url), 400)
    await refused(cast, cast.bob.put(url, json=["Ongoing"]), 400)
    two = '{"status":"Canceled","status":"Ongoing"}'
    headers = {"Content-Type": "application/json"}
    await refused(cast, cast.bob.put(url, content=two, headers=headers), 400)
    plain = {"Content-Type": "text/plain"}
    one = '{"status":"Ongoing"}'
    await refused(cast, cast.bob.put(url, content=one, headers=plain), 415)


# -- refusals: who ----------------------------------------------------------------------------


async def test_it_wants_a_known_contract(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    await refuses_ids(cast, lambda contract: put(cast.bob, contract, "Ongoing"), life.contract)


@pytest.mark.abuse(44, 47)
async def test_it_is_for_the_freelancer(cast: Cast) -> None:
    life = await Life.at(cast, "started")
    await only_for(cast, lambda who: put(who, life.contract, "Ongoing"), cast.bob)
    await only_for(cast, lambda who: put(who, life.contract, "Canceled"), cast.bob)
    await only_for(cast, lambda who: put(who, life.contract, "Completed"), cast.bob)
