"""/checkout: what a buyer sees, pays, and comes back from, as a browser without scripts does."""

import asyncio
import re
from urllib.parse import parse_qs, urlsplit

import jwt
import msgspec
import pytest

from counter import CALLBACK, CARD, Counter, Order, milestones, person, text_of
from digest import digest
from earnest.actions import checkout
from earnest.actions.checkout_sessions import Urls, ask
from earnest.actions.core import Core
from earnest.actions.onboarding import Step
from earnest.checkout.wording import Language
from earnest.domain.party import SYSTEM
from earnest.store.commit import Commit
from earnest.store.db import Pool
from earnest.web.links import LinkKind
from partners import make_broker
from people import ANSWERS, BANK_ACCOUNT, PERSON, Visit
from web import INSIDES

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'{}; base-uri 'none'; frame-ancestors 'none'"
)
SLOW_BANK = "4000 0000 0000 0077"
GUIDES_CARD = "5123 4500 0000 0008"


# -- the order --------------------------------------------------------------------------------


async def test_it_shows_what_is_bought_what_it_costs_and_who_holds_the_money(
    counter: Counter,
) -> None:
    order = await counter.order(
        description="A logo,\na box.", Milestones=milestones("2036-06-01T00:00:00.000Z")
    )
    page = await order.look()
    assert page.status_code == 200
    text = text_of(page).replace("\u00a0", " ")
    for said in (
        "Order from Demo Broker",
        "Logo and packaging for a bakery",
        "A logo, a box.",
        "Sold by Omar",
        "Price SAR 1,000.00",
        "Escrow fee SAR 25.00",
        "Tax on the escrow fee SAR 3.75",
        "Service fee of Demo Broker SAR 100.00",
        "Tax on the service fee SAR 15.00",
        "Total SAR 1,143.75",
        "Pay SAR 1,143.75",
        "In 2 parts",
        "Draft SAR 686.25 Three drafts to choose from Due on 1 June 2036",
        "Final files SAR 457.50 Due on 1 June 2036",
        "You pay Earnest",
        "Each part stays in escrow until Omar has delivered it and Demo Broker releases it.",
        "the money is refunded to you",
        f"Order number {order.number}",
    ):
        assert said in text, said
    assert "966500000002" not in text
    assert "Huda" not in text
    assert await counter.sessions() == []


async def test_it_asks_nobody_else_runs_nothing_and_is_kept_by_nobody(counter: Counter) -> None:
    order = await counter.order()
    page = await order.look()
    assert page.headers["Content-Security-Policy"] == POLICY.format(f" {counter.url}")
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["X-Frame-Options"] == "DENY"
    assert "set-cookie" not in page.headers
    assert not re.search(r"<script|style=|\son\w+=|https?://(?!127\.0\.0\.1)", page.text)


LANGUAGES = [
    ("en", "ltr", "Your money is protected", "SAR\u00a01,143.75"),
    ("ar", "rtl", "أموالك محمية", "1,143.75\u00a0ر.س."),
    ("hi", "ltr", "आपका पैसा सुरक्षित है", "SAR\u00a01,143.75"),
]


@pytest.mark.parametrize(("language", "direction", "said", "amount"), LANGUAGES)
async def test_it_speaks_one_language_from_the_link_to_the_card(
    counter: Counter, language: str, direction: str, said: str, amount: str
) -> None:
    order = await counter.order()
    for page in (
        await order.look(language),
        await counter.http.get(order.link, headers={"Accept-Language": f"{language}-XX, fr"}),
        await order.look("xx") if language == "en" else await order.look(language),
    ):
        assert f'<html lang="{language}" dir="{direction}">' in page.text
        assert page.headers["Content-Language"] == language
        assert said in text_of(page)
        assert amount in page.text
        for other in Language:
            link = f'href="/checkout?token={order.token}&amp;lang={other}"'
            assert link in page.text
        assert f'action="/checkout?token={order.token}&amp;lang={language}"' in page.text
    pressed = await order.press_pay(language)
    assert pressed.headers["Location"].endswith(f"?lang={language}")
    card = await counter.http.get(pressed.headers["Location"])
    assert f'dir="{direction}"' in card.text
    cancel = f'href="{counter.url}/checkout?token={order.token}&amp;lang={language}"'
    assert cancel in card.text
    typed = await counter.http.post(pressed.headers["Location"], data=CARD)
    assert f"lang={language}" in typed.headers["Location"]


@pytest.mark.abuse(119)
async def test_it_shows_names_and_texts_as_what_they_are(counter: Counter) -> None:
    nasty = '<script>alert(1)</script>"><img src=x onerror=alert(1)>{{7*7}}{% raw %}${7*7}'
    order = await counter.order(
        title=nasty,
        description=nasty,
        SellerParty=person("966500000003", "<b>O</b>{{7*7}}"),
        Milestones=[one | {"Name": nasty, "Description": nasty} for one in milestones()],
    )
    for language in Language:
        page = await order.look(language)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
        assert "{{7*7}}" in page.text
        for wrong in ("<script", "<img", "<b>", "49"):
            assert wrong not in page.text.replace(order.token, ""), wrong
        assert nasty.replace("\n", " ") in text_of(page)
    for sign in ("\u202e", "\u2066", "\u0000"):
        sent = {"title": f"a{sign}b", "contractServiceType": "Service", "amount": 10}
        people = {"BuyerParty": person("966500000001", "H"), "SellerParty": person("9665", "O")}
        answer = await counter.broker.client.post("/apps/api/contracts", json=sent | people)
        assert answer.status_code == 400


async def test_it_writes_each_currency_with_its_own_decimals(counter: Counter) -> None:
    for currency, amount, shown in (("JPY", 1000, "JPY 1,144"), ("KWD", 100, "KWD 114.375")):
        async with (broker := await make_broker(counter.app, currency, currency=currency)).client:
            order = await counter.order(broker, amount=amount)
            text = text_of(await order.look()).replace("\u00a0", " ")
            assert f"Total {shown} Pay {shown}" in text


# -- links ------------------------------------------------------------------------------------


async def test_it_says_that_a_link_has_expired_and_how_to_get_another(counter: Counter) -> None:
    order = await counter.order()
    await counter.advance(601)
    for language, said in (
        ("en", "go back to demo broker"),
        ("ar", "انتهت صلاحية رابط الدفع"),
        ("hi", "समय-सीमा समाप्त"),
    ):
        for page in (await order.look(language), await order.press_pay(language)):
            assert page.status_code == 410
            assert said in text_of(page).casefold()
            assert 'href="https://shop.example/"' in page.text
            assert "1,143.75" not in page.text
            assert "bakery" not in page.text
    assert await counter.sessions() == []
    assert (await (await order.renewed()).look()).status_code == 200


async def test_it_leads_nowhere_once_a_host_is_not_allowed(counter: Counter) -> None:
    async with (broker := await make_broker(counter.app, "Third Broker")).client:
        order = await counter.order(broker)
        pool: Pool = counter.app.state.pool
        async with pool.connection() as conn:
            row = await conn.fetchrow("SELECT settings FROM business WHERE id = $1", broker.key)
            assert row is not None
            settings = msgspec.json.decode(row["settings"])
            settings["callback_hosts"] = ["other.example"]
            await conn.execute(
                "UPDATE business SET settings = $2 WHERE id = $1",
                broker.key,
                msgspec.json.encode(settings).decode(),
            )
        done = await order.paid_by(GUIDES_CARD)
        assert done.status_code == 200
        page = await order.back()
        assert page.status_code == 200
        assert "Payment received" in text_of(page)
        assert "shop.example" not in page.text
        await counter.advance(601)
        assert "shop.example" not in (await order.look()).text


async def test_it_tells_nothing_to_who_made_up_a_link(counter: Counter) -> None:
    order = await counter.order()
    links = counter.app.state.links
    link = links.peek(order.token)
    onboarding = links.issue(LinkKind.ONBOARDING, link.business, link.subject, link.expires_at)
    foreign = links.issue(LinkKind.CHECKOUT, link.business + 1, link.subject, link.expires_at)
    changed = order.token[:-1] + ("A" if order.token[-1] != "A" else "B")
    before = await digest(counter.app.state.pool)
    seen = set()
    for token in (
        "", "x", "%00", "x" * 4000, changed, order.token + "=", order.token[:-2],
        counter.broker.token, onboarding, foreign, "<script>",
    ):  # fmt: skip
        asked = {"token": token, "lang": "en"}
        for page in (
            await counter.http.get("/checkout", params=asked),
            await counter.http.post("/checkout", params=asked, data={"step": "person"}),
            await counter.http.get("/checkout/return", params=asked),
        ):
            assert page.status_code == 404, token
            assert page.headers["Content-Security-Policy"] == POLICY.format("")
            seen.add(re.sub(r'href="[^"]*"', "", page.text))
            assert "This link is not valid" in text_of(page)
            assert not INSIDES.search(page.text)
    assert len(seen) == 1, "a link that is nobody's looks like one of somebody else"
    assert await digest(counter.app.state.pool) == before
    assert (await counter.http.get("/checkout")).status_code == 404
    for path in ("/checkout/", "/checkout/x", "/checkout/return/x"):
        page = await counter.http.get(path)
        assert page.headers["Content-Type"].startswith("text/html")
    wrong = await counter.http.delete("/checkout")
    assert wrong.status_code == 405
    assert "GET" in wrong.headers["Allow"]


@pytest.mark.parametrize("lang", ["xx", "", "AR", "../ar", "ar\x00", "<script>", "ar" * 999])
async def test_it_takes_no_other_language_for_one(counter: Counter, lang: str) -> None:
    page = await (await counter.order()).look(lang)
    assert page.status_code == 200
    assert '<html lang="en" dir="ltr">' in page.text
    assert "<script" not in page.text


# -- paying -----------------------------------------------------------------------------------


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


# -- proving who the buyer is first -----------------------------------------------------------


async def test_it_takes_no_payment_from_who_has_yet_to_prove_who_they_are(
    counter: Counter,
) -> None:
    async with (broker := await make_broker(counter.app, "Careful", require_kyc=True)).client:
        order = await counter.order(broker)
        page = await order.look("ar")
        assert page.status_code == 200
        assert "<form" not in page.text
        steps = f"/checkout?token={order.token}&lang=ar&step=identity"
        assert f"/checkout?token={order.token}&amp;step=identity&amp;lang=ar" in page.text
        for body in ({}, {"step": "bank_account"}, {"step": ""}):
            pressed = await counter.http.post(order.link, data=body)
            assert pressed.status_code == 303
            assert "step=identity" in pressed.headers["Location"]
        assert await counter.sessions() == []

        visit = Visit(broker, counter.http, steps, "966500000001")
        await counter.advance(500)
        await visit.through(Step.QUESTIONS)
        await counter.advance(500)  # the first link is over by now; each step brings a new one
        assert (await order.look()).status_code == 410
        await visit.send(ANSWERS)
        await visit.send({"code": await visit.code()})
        await visit.send(BANK_ACCOUNT)
        assert "step=" not in visit.url
        token = parse_qs(urlsplit(visit.url).query)["token"][0]
        order = msgspec.structs.replace(order, link=f"{counter.url}/checkout?token={token}")
        assert "<form" in (await counter.http.get(visit.url)).text
        await order.paid_by(GUIDES_CARD)
        assert (await order.back()).headers["Location"].startswith(CALLBACK + "&Status=success")


async def test_a_step_that_is_sent_again_makes_no_link_last_longer(counter: Counter) -> None:
    async with (broker := await make_broker(counter.app, "Careful", require_kyc=True)).client:
        order = await counter.order(broker)
        steps = f"/checkout?token={order.token}&step=identity"
        visit = Visit(broker, counter.http, steps, "966500000001")
        await counter.advance(60)
        await visit.through(Step.QUESTIONS)
        assert order.token not in visit.url
        again = await counter.http.post(steps, data={"step": "person", **PERSON})
        assert again.status_code == 303
        assert order.token in again.headers["Location"]
        wrong = await counter.http.post(steps, data={"step": "questions", "is_employed": "x"})
        assert wrong.status_code == 400


async def test_it_has_a_page_for_a_form_that_is_too_large(counter: Counter) -> None:
    async with (broker := await make_broker(counter.app, "Careful", require_kyc=True)).client:
        order = await counter.order(broker)
        answer = await counter.http.post(
            "/checkout", params={"token": order.token, "lang": "ar"}, content=b"a" * 9_000
        )
        assert answer.status_code == 413
        assert 'dir="rtl"' in answer.text
        assert "لم تنجح العملية" in text_of(answer)
