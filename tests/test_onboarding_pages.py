"""/onboarding: the four steps, as a browser without scripts takes them."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest
from litestar import Litestar

from conftest import TestDatabase
from digest import digest
from earnest.actions.onboarding import Step
from earnest.app import build_app
from earnest.domain.partner_settings import Wanted
from earnest.providers.kyc import (
    TEST_PEOPLE,
    UNKNOWN_TO_THE_REGISTER,
    WITHOUT_ACCOUNT,
)
from earnest.store import businesses, kyc
from earnest.store.db import Pool
from earnest.store.limits import IDENTITY
from earnest.store.verify import verify
from earnest.web.links import LinkKind
from partners import Broker, make_broker
from people import ANSWERS, BANK_ACCOUNT, OMAR, PERSON, Visit, errors, path_of
from web import Caller, caller, make_settings

TO_DO = {
    "onboardingCompleted": False,
    "isVerified": False,
    "kycCompleted": False,
    "isBankAccountReady": False,
}
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


# -- the way through ------------------------------------------------------------------------------


async def test_it_leads_through_four_steps_to_the_end(visit: Visit) -> None:
    assert await visit.step() is Step.PERSON
    assert (await visit.send(PERSON)).status_code == 303
    assert await visit.standing() == TO_DO

    assert await visit.step() is Step.QUESTIONS
    assert (await visit.send(ANSWERS)).status_code == 303
    assert await visit.standing() == TO_DO

    assert await visit.step() is Step.CODE
    code = await visit.code()
    assert re.fullmatch(r"[0-9]{6}", code)
    assert (await visit.send({"code": f"{code[:3]} {code[3:]}"})).status_code == 303
    assert await visit.standing() == TO_DO | {"isVerified": True}

    assert await visit.step() is Step.BANK_ACCOUNT
    assert (await visit.send(BANK_ACCOUNT)).status_code == 303
    assert await visit.standing() == dict.fromkeys(TO_DO, True)

    assert await visit.step() is None
    assert "You are all set" in (await visit.look()).text


async def test_it_takes_each_step_once_and_in_order(visit: Visit, app: Litestar) -> None:
    pool: Pool = app.state.pool
    for wrong in (Step.QUESTIONS, Step.CODE, Step.BANK_ACCOUNT):
        before = await digest(pool)
        await visit.send(ANSWERS | BANK_ACCOUNT | {"code": "000000"}, wrong)
        assert await digest(pool) == before
    first = visit.url
    await visit.through(Step.CODE)
    before = await digest(pool)
    visit.url = first
    answer = await visit.send(PERSON | {"national_id": "1011111111"}, Step.PERSON)
    assert answer.status_code == 303
    await visit.send(dict.fromkeys(ANSWERS, "no"), Step.QUESTIONS)
    assert await digest(pool) == before


async def test_sending_a_form_twice_at_once_takes_one_step(
    visit: Visit, app: Litestar, database: TestDatabase
) -> None:
    await visit.through(Step.BANK_ACCOUNT)
    sent = {"step": "bank_account", **BANK_ACCOUNT}
    answers = await asyncio.gather(*(visit.browser.post(visit.url, data=sent) for _ in range(10)))
    assert {answer.status_code for answer in answers} == {303}
    pool: Pool = app.state.pool
    async with pool.connection() as conn:
        told = await conn.fetch("SELECT subject, actor, body FROM event WHERE type = $1",
                                kyc.PARTY_VERIFIED)  # fmt: skip
        [party] = await conn.fetch("SELECT public_id FROM party WHERE phone = $1", visit.phone)
    assert [tuple(row) for row in told] == [(f"party:{party[0]}", "system:0", "{}")]
    report = await verify(database.app_dsn)
    assert report.violation is None, str(report.violation)


async def test_what_the_partner_told_need_not_be_typed(broker: Broker, api: Caller) -> None:
    visit = await Visit.begin(
        broker, api, nationalId="2087654321", iBAN="SA0380000000608010167519", bIC="RJHISARI"
    )
    page = (await visit.look()).text
    assert "2*** ***3 21" in page
    assert "2087654321" not in page
    await visit.send({"first_name": "Omar", "last_name": "Khalid", "national_id": "", "born": ""})
    await visit.send(ANSWERS)
    await visit.send({"code": await visit.code()})
    page = (await visit.look()).text
    assert "SA** **** **** **** **** 7519" in page
    assert "SA03" not in page
    await visit.send({"iban": "", "bic": ""})
    assert await visit.standing() == dict.fromkeys(TO_DO, True)


async def test_it_leads_back_to_the_partner_in_the_end(broker: Broker, api: Caller) -> None:
    url = "https://shop.example/back?order=7&empty="
    visit = await Visit.begin(broker, api, callbackUrl=url)
    policy = (await visit.look()).headers["content-security-policy"]
    assert "form-action 'self' https://shop.example;" in policy
    await visit.through(Step.BANK_ACCOUNT)
    answer = await visit.send(BANK_ACCOUNT)
    assert answer.status_code == 303
    assert re.fullmatch(
        re.escape(url) + r"&platformRefId=USR_[0-9]{14}_[0-9]{4}&isKycCompleted=True",
        answer.headers["location"],
    )
    page = await visit.look()
    assert answer.headers["location"].replace("&", "&amp;") in page.text


async def test_it_leads_nowhere_that_the_business_does_not_allow_any_more(
    broker: Broker, api: Caller
) -> None:
    visit = await Visit.begin(broker, api, callbackUrl="https://sold.example/back")
    await visit.through(Step.BANK_ACCOUNT)
    pool: Pool = broker.app.state.pool
    async with pool.connection() as conn, conn.transaction():
        wanted = Wanted(callback_hosts=["shop.example"])
        await businesses.change(conn, broker.business_id, wanted, "setup")
    page = await visit.look()
    assert "sold.example" not in page.headers["content-security-policy"] + page.text
    answer = await visit.send(BANK_ACCOUNT)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/onboarding?")
    assert await visit.standing() == dict.fromkeys(TO_DO, True)
    page = await visit.look()
    assert "You are all set" in page.text
    assert "sold.example" not in page.text


async def test_it_leaves_the_query_of_the_partner_as_it_is(broker: Broker, api: Caller) -> None:
    url = "https://shop.example/back?a&b=%ff&c=d;e"
    visit = await Visit.begin(broker, api, callbackUrl=url)
    await visit.through(Step.BANK_ACCOUNT)
    answer = await visit.send(BANK_ACCOUNT)
    assert answer.headers["location"].startswith(f"{url}&platformRefId=USR_")


# -- what is wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"first_name": ""}, "first_name"),
        ({"first_name": "x" * 101}, "first_name"),
        ({"last_name": "Kha\u202elid"}, "last_name"),
        ({"national_id": ""}, "national_id"),
        ({"national_id": "3087654321"}, "national_id"),
        ({"national_id": UNKNOWN_TO_THE_REGISTER}, "national_id"),
        ({"born": "1991-02-30"}, "born"),
        ({"born": "2999-01-01"}, "born"),
    ],
)
async def test_it_says_what_is_wrong_with_a_person(
    visit: Visit, app: Litestar, other: dict[str, str], field: str
) -> None:
    before = await digest(app.state.pool)
    page = await visit.send(PERSON | other)
    assert (page.status_code, errors(page)) == (400, [field])
    assert f'id="{field}"' in page.text
    assert f'id="{field}-error"' in page.text
    assert PERSON["national_id"] not in page.text
    assert await digest(app.state.pool) == before


async def test_it_wants_every_question_answered(visit: Visit, app: Litestar) -> None:
    await visit.through(Step.QUESTIONS)
    before = await digest(app.state.pool)
    for name in ANSWERS:
        page = await visit.send({one: text for one, text in ANSWERS.items() if one != name})
        assert (page.status_code, errors(page)) == (400, [name])
        page = await visit.send(ANSWERS | {name: "maybe"})
        assert errors(page) == [name]
    assert await digest(app.state.pool) == before


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"iban": ""}, "iban"),
        ({"iban": "SA0380000000608010167518"}, "iban"),
        ({"bic": "RJHI"}, "bic"),
        ({"bic": ""}, "bic"),
    ],
)
async def test_it_says_what_is_wrong_with_a_bank_account(
    visit: Visit, other: dict[str, str], field: str
) -> None:
    await visit.through(Step.BANK_ACCOUNT)
    page = await visit.send(BANK_ACCOUNT | other)
    assert (page.status_code, errors(page)) == (400, [field])
    assert not other.get("iban") or other["iban"] not in page.text
    assert not (await visit.standing())["isBankAccountReady"]


async def test_it_wants_an_account_of_their_own(visit: Visit) -> None:
    await visit.send(PERSON | {"national_id": WITHOUT_ACCOUNT})
    await visit.send(ANSWERS)
    await visit.send({"code": await visit.code()})
    page = await visit.send(BANK_ACCOUNT)
    assert (page.status_code, errors(page)) == (400, ["iban"])
    assert "not in your name" in page.text
    assert not (await visit.standing())["kycCompleted"]


async def test_people_cannot_be_tried_out(visit: Visit) -> None:
    sent = {"step": "person", **PERSON, "national_id": UNKNOWN_TO_THE_REGISTER}
    pages = [await visit.browser.post(visit.url, data=sent) for _ in range(IDENTITY.burst + 3)]
    assert [page.status_code for page in pages].count(400) == IDENTITY.burst
    assert [page.status_code for page in pages].count(429) == 3


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe=1", b"step=person&" * 100, b"step=nonsense", b"%"]
)
async def test_a_form_that_cannot_be_read_changes_nothing(
    visit: Visit, app: Litestar, body: bytes
) -> None:
    before = await digest(app.state.pool)
    answer = await visit.browser.post(visit.url, content=body)
    assert answer.status_code < 500
    assert await digest(app.state.pool) == before


def test_who_fails_in_the_sandbox_is_documented() -> None:
    documented = (Path(__file__).parent.parent / "docs" / "identity.md").read_text()
    assert set(re.findall(r"^\| (\d{10}) \|", documented, re.MULTILINE)) == {
        one.national_id for one in TEST_PEOPLE
    }


# -- links ----------------------------------------------------------------------------------------


async def test_a_link_ends_after_ten_minutes_and_each_step_renews_it(visit: Visit) -> None:
    first = visit.url
    await visit.advance(540)
    await visit.send(PERSON)
    assert visit.url != first
    await visit.advance(540)
    assert await visit.step() is Step.QUESTIONS
    page = await visit.browser.get(first)
    assert page.status_code == 410
    assert "expired" in page.text
    await visit.advance(61)
    assert (await visit.send(ANSWERS, Step.QUESTIONS)).status_code == 410
    await visit.renew()
    assert await visit.step() is Step.QUESTIONS


async def test_a_wrong_form_gives_no_more_time(visit: Visit) -> None:
    first = visit.token
    await visit.send(PERSON | {"national_id": "1"})
    await visit.send({"code": "1"}, Step.CODE)
    assert visit.token == first


async def test_other_links_open_nothing(visit: Visit, app: Litestar, rival: Broker) -> None:
    state = app.state
    opened = state.links.peek(visit.token)
    async with state.pool.connection() as conn:
        now = (await kyc.progress(conn, 0)).now
    tokens = [
        "",
        "x" * 50,
        visit.token[:-1] + ("A" if visit.token[-1] != "A" else "B"),
        visit.token + "A",
        state.links.issue(LinkKind.CHECKOUT, opened.business, opened.subject, now),
        state.links.issue(LinkKind.ONBOARDING, rival.key, opened.subject, now),
        state.links.issue(LinkKind.ONBOARDING, opened.business, "66aa00000000000000000a01", now),
        state.links.issue(LinkKind.ONBOARDING, 999, opened.subject, now),
    ]
    for token in tokens:
        for answer in (
            await visit.browser.get("/onboarding", params={"token": token}),
            await visit.browser.post("/onboarding", params={"token": token}, data=PERSON),
        ):
            assert answer.status_code == 404
            assert "This link is not valid" in answer.text
    assert (await visit.browser.get("/onboarding")).status_code == 404


# -- pages ----------------------------------------------------------------------------------------


async def test_pages_speak_three_languages_and_keep_to_one(visit: Visit) -> None:
    for language, direction, words in (
        ("en", "ltr", "Tell us who you are"),
        ("ar", "rtl", "عرّفنا بنفسك"),
        ("hi", "ltr", "हमें बताइए कि आप कौन हैं"),
    ):
        page = await visit.browser.get(f"{visit.url}&lang={language}")
        assert words in page.text
        assert f'<html lang="{language}" dir="{direction}">' in page.text
    by_browser = await visit.browser.get(visit.url, headers={"Accept-Language": "ar-SA"})
    assert 'dir="rtl"' in by_browser.text
    answer = await visit.browser.post(f"{visit.url}&lang=hi", data={"step": "person", **PERSON})
    assert answer.headers["location"].endswith("&lang=hi")
    page = await visit.browser.get(answer.headers["location"])
    assert "क्या आपकी नियमित आय है?" in page.text


async def test_numbers_are_written_from_the_left_in_arabic_too(visit: Visit) -> None:
    await visit.through(Step.CODE)
    page = await visit.browser.get(visit.url.replace("lang=en", "lang=ar"))
    assert 'dir="rtl"' in page.text
    assert '<bdi dir="ltr">**** **** *002</bdi>' in page.text
    assert visit.phone not in re.sub(r'href="/sandbox/[^"]+"', "", page.text)


async def test_pages_are_closed_to_everything_but_themselves(visit: Visit) -> None:
    for answer in (await visit.look(), await visit.browser.get("/onboarding?token=x")):
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "<script" not in answer.text
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', answer.text)


@pytest.mark.abuse(119)
async def test_names_are_text_wherever_they_stand(app: Litestar, api: Caller) -> None:
    name = '<script>x</script>"><img onerror=x> {{7*7}}'
    broker = await make_broker(app, "<b>Broker</b>")
    visit = await Visit.begin(broker, api, firstName=name)
    for page in (
        await visit.look(),
        await visit.send(PERSON | {"first_name": name, "born": "x"}),
    ):
        assert "<script>" not in page.text
        assert "<img" not in page.text
        assert "<b>" not in page.text
        assert "{{7*7}}" in page.text
        assert "&lt;script&gt;" in page.text
    await broker.client.aclose()


async def test_production_believes_nobody(
    broker: Broker, database: TestDatabase, pool: Pool
) -> None:
    """There is no KYC provider in this version but the sandbox's, who believes everybody."""
    made = await broker.client.post("/apps/api/user", json=OMAR)
    settings = make_settings(
        database.app_dsn,
        env="production",
        public_url="https://pay.example",
    )
    production = build_app(settings, Pool(settings.database_url))
    async with production.lifespan(), caller(production) as browser:
        browser.base_url = httpx.URL("https://pay.example")
        url = path_of(made.json()["data"]["kycUrl"])
        assert "1000000099" not in (await browser.get(url)).text
        answer = await browser.post(url, data={"step": "person", **PERSON})
        assert answer.status_code == 503
    async with pool.connection() as conn:
        assert await conn.fetchval("SELECT count(*) FROM kyc") == 0
