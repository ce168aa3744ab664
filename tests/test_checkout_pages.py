"""/checkout: what a buyer sees, pays, and comes back from, as a browser without scripts does."""

import re
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from counter import CALLBACK, CARD, GUIDES_CARD, Counter, milestones, person, text_of
from digest import digest
from earnest.actions.onboarding import Step
from earnest.checkout.wording import Language
from earnest.store.db import Pool
from earnest.web.links import LinkKind
from partners import make_broker
from people import ANSWERS, BANK_ACCOUNT, PERSON, Visit
from web import INSIDES

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'{}; base-uri 'none'; frame-ancestors 'none'"
)


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
