"""/checkout: paying, and coming back with what the payment came to."""

import asyncio
import re
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from counter import CALLBACK, GUIDES_CARD, SLOW_BANK, Counter, Order, text_of
from earnest.actions import checkout
from earnest.actions.checkout_sessions import Urls, ask
from earnest.actions.core import Core
from earnest.checkout.wording import Language
from earnest.domain.party import SYSTEM
from earnest.store.commit import Commit


async def test_it_opens_one_session_however_often_the_button_is_pressed(
    counter: Counter,
) -> None:
    order = await counter.order()
    answers = await asyncio.gather(*(order.press_pay() for _ in range(8)))
    answers.append(await (await order.renewed()).press_pay("ar"))
    assert {answer.status_code for answer in answers} == {303}
    places = {answer.headers["Location"].partition("?")[0] for answer in answers}
    [(session, state)] = await counter.sessions()
    assert places == {f"{counter.url}/sandbox/pay/{session}"}
    assert state == "open"


async def test_it_opens_one_session_for_all_links_and_languages_at_once(counter: Counter) -> None:
    for opened in range(1, 5):
        order = await counter.order()
        await counter.advance(60)  # so that the other link is another one
        links = (order, await order.renewed())
        assert links[0].token != links[1].token
        answers = await asyncio.gather(
            *(link.press_pay(language.value) for link in links for language in Language)
        )
        assert {answer.status_code for answer in answers} == {303}
        places = {answer.headers["Location"].partition("?")[0] for answer in answers}
        sessions = await counter.sessions()
        assert len(sessions) == opened
        newest, state = sessions[-1]
        assert (places, state) == ({f"{counter.url}/sandbox/pay/{newest}"}, "open")


async def test_it_waits_no_longer_for_who_died_while_opening_a_session(counter: Counter) -> None:
    order = await counter.order()
    core: Core = counter.app.state.core
    link = counter.app.state.links.peek(order.token)
    found = await checkout.find(core, link.business, link.subject)
    begun = checkout.begin(found, core.provider_account, found.now, await core.keys.ids())
    assert await core.door.commit(Commit(begun))
    assert begun.payment is not None
    urls = Urls(f"{counter.url}/done", f"{counter.url}/back")
    dead = await ask(
        core,
        SYSTEM,
        begun.payment,
        found.now,
        title="Logo",
        metadata={},
        urls=urls,
        expires_in_seconds=3_600,
    )
    pressed = await order.press_pay()
    assert pressed.status_code == 303
    first, second = [session for session, _ in await counter.sessions()]
    assert first == dead.id
    assert pressed.headers["Location"].startswith(f"{counter.url}/sandbox/pay/{second}?")


async def claims_of(counter: Counter, token: str) -> dict[str, object]:
    """What a result says, verified as a partner would: with the published keys."""
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "checkout-result+jwt"
    keys = (await counter.http.get("/.well-known/jwks.json")).json()
    [key] = [key for key in keys["keys"] if key["kid"] == header["kid"]]
    claims: dict[str, object] = jwt.decode(
        token,
        jwt.PyJWK(key).key,
        algorithms=["RS256"],
        audience=counter.broker.client_id,
        issuer=counter.url,
        options={"require": ["exp", "iat", "iss", "aud"]},
    )
    return claims


async def came_back(counter: Counter, order: Order, status: str) -> dict[str, list[str]]:
    """The query with which the partner gets the buyer back, its signature checked."""
    answer = await order.back()
    assert answer.status_code == 303
    place = urlsplit(answer.headers["Location"])
    assert answer.headers["Location"].startswith(CALLBACK + "&Status=")
    query = parse_qs(place.query)
    assert query["Status"] == [status]
    assert query["contractId"] == [order.number]
    assert re.fullmatch(r"PAY-[0-9]+", query["paymentId"][0])
    claims = await claims_of(counter, query["signature"][0])
    assert claims["status"] == status
    assert claims["contractId"] == order.number
    assert claims["paymentId"] == query["paymentId"][0]
    assert isinstance(claims["exp"], int)
    assert isinstance(claims["iat"], int)
    assert claims["exp"] - claims["iat"] == 600
    return query


@pytest.mark.parametrize("card", ["4242 4242 4242 4242", GUIDES_CARD])
async def test_it_takes_the_buyer_back_with_a_signed_success(counter: Counter, card: str) -> None:
    order = await counter.order()
    arrived = await order.paid_by(card, "ar")
    assert arrived.status_code == 200
    assert "نتحقق من دفعتك" in text_of(arrived)
    seconds, _, url = arrived.headers["Refresh"].partition("; url=")
    assert (seconds, url) == ("0", f"/checkout/return?token={order.token}&lang=ar")
    assert (await order.shown())["status"] == "escrow"
    query = await came_back(counter, order, "success")
    assert query["order"] == ["7"]
    assert query["x"] == [" a"]
    again = await counter.http.get(url)
    assert again.status_code == 303
    paid = await order.look()
    assert paid.status_code == 200
    assert "This order is paid" in text_of(paid)
    assert "<form" not in paid.text
    pressed = await order.press_pay()
    assert pressed.headers["Location"] == f"/checkout?token={order.token}&lang=en"
    assert len(await counter.sessions()) == 1


async def test_its_access_tokens_are_no_results_and_its_results_no_tokens(
    counter: Counter,
) -> None:
    order = await counter.order()
    await order.paid_by(GUIDES_CARD)
    signature = (await came_back(counter, order, "success"))["signature"][0]
    answer = await counter.broker.client.get(
        f"/apps/api/contracts/{order.number}", headers={"Authorization": f"Bearer {signature}"}
    )
    assert answer.status_code == 401


async def test_a_buyer_may_come_back_later_than_the_link_lasts(counter: Counter) -> None:
    order = await counter.order()
    await order.paid_by(GUIDES_CARD)
    await counter.advance(3_600)
    assert (await order.look()).status_code == 410
    await came_back(counter, order, "success")
    await counter.advance(3 * 24 * 3_600)
    assert (await order.back()).status_code == 410


async def test_it_shows_the_result_itself_where_nobody_wants_the_buyer_back(
    counter: Counter,
) -> None:
    order = await counter.order(callbackUrl=None)
    await order.paid_by(GUIDES_CARD)
    for language, said, close in (
        ("en", "Payment received", "You can close this window now."),
        ("ar", "تم استلام الدفعة", "يمكنك إغلاق هذه النافذة الآن."),
        ("hi", "भुगतान मिल गया", "अब आप यह विंडो बंद कर सकते हैं।"),
    ):
        page = await order.back(language)
        assert page.status_code == 200
        assert said in text_of(page)
        assert close in text_of(page)


async def test_it_never_believes_that_a_browser_came_by(counter: Counter) -> None:
    order = await counter.order()
    nobody = await order.back()
    assert nobody.headers["Location"] == f"/checkout?token={order.token}&lang=en"
    await order.press_pay()
    for query in ({}, {"Status": "success"}, {"arrived": "1"}):
        answer = await order.back(**query)
        assert "shop.example" not in answer.headers.get("Location", "")
        assert "received" not in answer.text
    assert (await order.shown())["status"] == "pending"


async def test_it_waits_for_word_that_is_on_its_way(counter: Counter) -> None:
    order = await counter.order()
    await order.press_pay()
    [(session, _)] = await counter.sessions()
    mute = counter.mute_provider()
    done = await mute.complete(session, "paid")
    assert not done.delivered
    await mute.close()
    page = await order.back("hi")
    assert page.status_code == 200
    assert "आपके भुगतान की जाँच हो रही है" in text_of(page)
    waits = []
    while refresh := page.headers.get("Refresh"):
        seconds, _, url = refresh.partition("; url=")
        waits.append(int(seconds))
        page = await counter.http.get(url)
    assert waits == [2] * 5 + [5] * 7
    assert "निश्चिंत" in text_of(page)
    assert "सामान्य से अधिक समय" in text_of(page)
    for tries in ("-1", "1e3", "٣", "x", "999999"):
        assert "Refresh" not in (await order.back(tries=tries)).headers
    await counter.advance(5)
    await counter.app.state.provider.deliver_due()
    await came_back(counter, order, "success")


async def test_a_slow_bank_keeps_the_buyer_from_paying_twice_and_not_from_leaving(
    counter: Counter,
) -> None:
    order = await counter.order()
    await order.paid_by(SLOW_BANK)
    assert (await order.shown())["status"] == "waitingForBankPayment"
    for page in (await order.back(), await order.look()):
        assert page.status_code == 200
        assert "Your bank is still working on it" in text_of(page)
        assert "safely close this window" in text_of(page)
        assert "Refresh" not in page.headers
        assert "<form" not in page.text
    assert (await order.press_pay()).headers["Location"].startswith("/checkout?")
    [(session, state)] = await counter.sessions()
    assert state == "processing"
    await counter.app.state.provider.complete(session, "paid")
    await came_back(counter, order, "success")


async def test_a_bank_that_says_no_in_the_end_sends_the_buyer_back_with_a_failure(
    counter: Counter,
) -> None:
    order = await counter.order()
    await order.paid_by(SLOW_BANK)
    [(session, _)] = await counter.sessions()
    await counter.app.state.provider.complete(session, "failed")
    await came_back(counter, order, "failed")
    page = await order.look()
    assert "The last attempt to pay did not succeed" in text_of(page)
    await order.paid_by(GUIDES_CARD)
    await came_back(counter, order, "success")


async def test_a_failure_may_be_tried_again_where_there_is_no_partner_to_go_back_to(
    counter: Counter,
) -> None:
    order = await counter.order(callbackUrl=None)
    await order.press_pay()
    [(session, _)] = await counter.sessions()
    await counter.app.state.provider.complete(session, "failed")
    page = await order.back("ar")
    assert "لم تنجح عملية الدفع" in text_of(page)
    assert f'href="/checkout?token={order.token}&amp;lang=ar">حاول مرة أخرى' in page.text


ENDED = [
    ("cancel", {"by": "buyer"}, "This order was cancelled", "أُلغي هذا الطلب", "यह ऑर्डर रद्द"),
    ("reject", {}, "The seller declined this order", "اعتذر البائع", "विक्रेता ने यह ऑर्डर स्वीकार नहीं"),
]


@pytest.mark.parametrize(("verb", "body", "english", "arabic", "hindi"), ENDED)
async def test_it_says_why_an_order_cannot_be_paid(
    counter: Counter, verb: str, body: dict[str, str], english: str, arabic: str, hindi: str
) -> None:
    order = await counter.order()
    await order.tell(verb, **body)
    for language, said in (("en", english), ("ar", arabic), ("hi", hindi)):
        page = await order.look(language)
        assert page.status_code == 200
        assert said in text_of(page)
        assert "<form" not in page.text
    assert (await order.press_pay()).status_code == 303
    assert await counter.sessions() == []


async def test_it_says_that_money_went_back(counter: Counter) -> None:
    order = await counter.order()
    await order.paid_by(GUIDES_CARD)
    await order.tell("refund", type="FULL", reason="changed her mind")
    for language, said in (("en", "returned"), ("ar", "أُعيد"), ("hi", "लौटा")):
        assert said in text_of(await order.look(language))
    await came_back(counter, order, "success")
