"""What happened to a contract: GET /apps/api/contracts/{contractId}/events (E7)."""

import hashlib
import re
from typing import Any

import httpx
import pytest

from deal import Deal
from dealing import done, only_its_own, refused
from partners import Broker

RETRIEVED = "EventsRetrievedSuccessfully"
KEYS = ["sequence", "recordedDate", "type", "actor", "body", "previousHash", "hash"]


async def ask(broker: Broker, number: str, **query: str) -> httpx.Response:
    return await broker.client.get(f"/apps/api/contracts/{number}/events", params=query)


async def trail(deal: Deal) -> Any:
    return done(await ask(deal.broker, deal.number), RETRIEVED)["events"]


async def a_life(broker: Broker) -> Deal:
    deal = await Deal.at(broker, "delivered")
    assert (await deal.act("dispute", {"by": "buyer", "reason": "Not green"})).status_code == 200
    assert (await deal.refund("PARTIAL", milestone=0, amount=250)).status_code == 200
    await deal.settle()
    assert (await deal.act("resolve-dispute", {"reason": "Agreed"})).status_code == 200
    assert (await deal.release()).status_code == 200
    assert (await deal.act("receive")).status_code == 200
    return deal


async def test_it_tells_everything_in_order_with_the_status_before_and_after(
    broker: Broker,
) -> None:
    events = await trail(await a_life(broker))
    assert [list(event) for event in events] == [KEYS] * len(events)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    told = [(event["type"], *statuses(event["body"])) for event in events]
    assert told == [
        ("contract.created", "draft", "pending"),
        ("payment.completed", "pending", "escrow"),
        ("contract.approved", "escrow", "escrow"),
        ("contract.delivered", "escrow", "escrow"),
        ("contract.disputed", "escrow", "dispute"),
        ("refund.partial-initiated", "dispute", "refundInProgress"),
        ("refund.partial-succeeded", "refundInProgress", "dispute"),
        ("contract.refunded", "refundInProgress", "dispute"),
        ("dispute.resolved", "dispute", "escrow"),
        ("contract.released", "escrow", "refunded"),
        ("contract.received", "refunded", "refunded"),
        ("contract.completed", "refunded", "completed"),
    ]
    actors = {event["actor"].partition(":")[0] for event in events}
    assert actors == {"partner", "system"}
    assert all(re.fullmatch(r"[0-9T:.-]{26}\+00:00", event["recordedDate"]) for event in events)


def statuses(body: str) -> tuple[str, str]:
    found = [re.search(rf'"{name}":"(\w+)"', body) for name in ("previousStatus", "status")]
    before, after = (one[1] if one else "" for one in found)
    return before, after


async def test_the_hashes_can_be_checked_by_anybody(broker: Broker) -> None:
    """Invariant 19, from what the answer says and from nothing else."""
    before = None
    for event in await trail(await a_life(broker)):
        assert before in (None, event["previousHash"])
        digest = hashlib.sha256()
        texts = [str(event[name]) for name in KEYS[:5]]
        for part in (bytes.fromhex(event["previousHash"]), *map(str.encode, texts)):
            digest.update(len(part).to_bytes(8, "big") + part)
        assert event["hash"] == digest.hexdigest()
        before = event["hash"]


async def test_it_turns_pages(broker: Broker) -> None:
    deal = await a_life(broker)
    everything = await trail(deal)
    for number in range(1, 6):
        page = done(await ask(broker, deal.number, page=str(number), pageSize="3"), RETRIEVED)
        assert page["events"] == everything[3 * number - 3 : 3 * number]
        assert (page["page"], page["pageSize"]) == (number, 3)


@pytest.mark.abuse(19)
async def test_it_refuses_pages_that_are_no_plain_numbers(broker: Broker) -> None:
    number = (await Deal.begin(broker)).number
    for name in ("page", "pageSize"):
        for wrong in ("1e3", "0", "-1", "١", "x"):
            await refused(broker, ask(broker, number, **{name: wrong}), 400, field=name)
        assert done(await ask(broker, number, **{name: "undefined"}), RETRIEVED)


async def test_it_is_for_its_own_business_alone(broker: Broker, rival: Broker) -> None:
    await only_its_own(broker, rival, ask, (await Deal.begin(broker)).number)
