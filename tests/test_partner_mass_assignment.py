"""What a partner's body does not name is not taken from it; what is another partner's is not told.

Unknown names are ignored (E4): so every field that a contract has is sent with every request, at
every depth, and the story must end as it does without.
"""

import re
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from deal import HUDA, OMAR, Deal
from dealing import books, sound
from digest import digest
from earnest.domain.party import Role
from earnest.web.auth import access_of
from partners import Broker, make_broker
from web import Caller

MODEL: dict[str, Any] = {
    "id": "0192a0de-0000-7000-8000-000000000001",
    "_id": "6" * 24,
    "key": 1,
    "version": 99,
    "status": "released",
    "agreement": "accepted",
    "work": "completed",
    "dispute": "none",
    "tranches": ["released"],
    "businessId": 1,
    "business": {"key": 1},
    "businessName": "Rival Broker",
    "buyerId": 1,
    "sellerId": 1,
    "currency": "USD",
    "funded": 1,
    "held": 1,
    "settlement": {"releasedToSeller": 1_000_000},
    "transactions": [{"amount": 5, "type": "release"}],
    "pricingLineItems": [],
    "feePlan": [],
    "feeBps": 0,
    "retentionBps": 0,
    "cancellationPolicy": [],
    "refundApproval": "automatic",
    "requireKyc": False,
    "sellerVerified": True,
    "createdDate": "2001-01-01T00:00:00.000Z",
    "updatedDate": "2001-01-01T00:00:00.000Z",
    "checkoutUrl": "https://evil.example",
    "checkout": {"url": "https://evil.example"},
    "actor": "admin:1",
    "role": "admin",
    "__proto__": {"isAdmin": True},
    "constructor": {"prototype": {}},
}
INSIDE = {
    "Id": 1,
    "Status": "released",
    "PricingLineItems": [],
    "Charge": 1,
    "isVerified": True,
    "kycCompleted": True,
    "walletBalance": 1_000_000,
}
CHANGING = re.compile(
    r"CNT-\d{4}-\d{8}|USR_\d{14}_\d{4}|20\d\d-[0-9T:.-]+Z|[0-9a-f-]{36}|TXN-\d+|A[Qg][\w-]{48}"
    r'|"(?:Id|milestoneId|transactionId|refundId)": ?\d+'
)


async def story(broker: Broker) -> tuple[list[str], Any]:
    """All that is answered on the way, and the books."""
    answers: list[httpx.Response] = []
    deal = await Deal.begin(broker)
    answers.append(await deal.act("approve"))
    await deal.pay()
    answers.append(await deal.act("deliver", {"reason": "Here"}))
    answers.append(await deal.act("dispute", {"by": "buyer"}))
    answers.append(await deal.act("resolve-dispute"))
    answers.append(await deal.release(0))
    answers.append(await deal.refund("PARTIAL", milestone=1, amount=100))
    await deal.settle()
    answers.append(await deal.act("receive"))
    other = await Deal.begin(broker)
    answers.append(await other.act("cancel", {"by": "seller"}))
    assert [answer.status_code for answer in answers] == [200] * len(answers), answers
    shown = await broker.client.get(f"/apps/api/contracts/{deal.number}")
    texts = [CHANGING.sub("~", answer.text) for answer in (*answers, shown)]
    return texts, await books(deal)


async def test_no_field_is_taken_from_a_body_that_does_not_name_it(
    app: Litestar, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, plain = await story(await make_broker(app, "Demo Broker"))
    send = Caller.request

    async def send_all(self: Caller, method: str, url: Any, **sent: Any) -> httpx.Response:
        if method != "GET" and str(url).startswith("/apps/"):
            sent["json"] = with_all(sent.get("json") or {})
        return await send(self, method, url, **sent)

    monkeypatch.setattr(Caller, "request", send_all)
    again = await make_broker(app, "Demo Broker")
    retold, doubled = await story(again)
    assert retold == told
    assert list(doubled) == [2 * amount for amount in plain]
    await sound(again)


def with_all(body: dict[str, Any]) -> dict[str, Any]:
    """`body` with every field of the model around it, and INSIDE in each of its objects."""
    deep = {
        name: INSIDE | value
        if isinstance(value, dict)
        else [INSIDE | one for one in value]
        if isinstance(value, list)
        else value
        for name, value in body.items()
    }
    return {**MODEL, **deep}


async def test_no_partner_finds_anything_of_another(broker: Broker, rival: Broker) -> None:
    """Whatever can be asked, with the other's ids and phone numbers."""
    deal = await Deal.at(broker, "released")
    pool = broker.app.state.pool
    secrets = [HUDA["phoneNumber"], OMAR["phoneNumber"], "Huda", "Omar", "order-66", "A logo"]
    secrets += [deal.made["buyerParty"]["platformRefId"], broker.client_id, broker.secret]
    before, asked = await digest(pool), 0
    for route in broker.app.routes:
        assert isinstance(route, HTTPRoute)
        for handler in route.route_handlers:
            if "access" not in handler.opt or access_of(handler).roles != {Role.PARTNER}:
                continue
            if "GET" in handler.http_methods:
                path = re.sub(r"\{\w+:\w+\}", deal.number, route.path)
                query = {"phoneNumber": HUDA["phoneNumber"], "contractId": deal.number}
                answer = await rival.client.get(path, params=query)
                assert answer.status_code in (200, 400, 404), path
                assert [one for one in secrets if one in answer.text] == [], path
                asked += 1
    assert asked >= 8
    assert await digest(pool) == before
