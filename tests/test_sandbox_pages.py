"""The sandbox provider's payer: the call that plays one, and the card page."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from earnest.providers.base import CheckoutSession
from earnest.providers.events import EventKind
from earnest.providers.sandbox_rules import (
    origin,
)
from earnest.web.sandbox_pages import CARDS, passes_luhn, read_card
from town import UNKNOWN, Town, open_session

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self' https://shop.example; base-uri 'none'; frame-ancestors 'none'"
)


# -- the payer as one call ------------------------------------------------------------------


async def test_acts_as_the_payer_over_http(town: Town) -> None:
    session = await open_session(town)
    for _ in range(2):
        answer = await town.http.post(
            f"/sandbox/checkout/{session.id}/complete", json={"outcome": "paid"}
        )
        assert answer.status_code == 200
        assert answer.json() == {"id": session.id, "outcome": "paid", "delivered": True}
    assert len(town.bodies(session)) == 1
    answer = await town.http.post(
        f"/sandbox/checkout/{session.id}/complete", json={"outcome": "failed"}
    )
    assert answer.status_code == 409
    assert answer.json()["message"] == "This checkout session is paid: it cannot become failed."


BAD_OUTCOMES: list[tuple[bytes, str | None]] = [
    (b'{"outcome":"refunded"}', "outcome"),
    (b'{"outcome":""}', "outcome"),
    (b'{"outcome":7}', "outcome"),
    (b'{"outcome":null}', "outcome"),
    (b"{}", "outcome"),
    (b'{"outcome":"paid","outcome":"failed"}', None),
    (b"[]", None),
    (b"\xff\xfe", None),
    (b"", None),
]


async def test_refuses_a_bad_outcome_and_names_the_field(town: Town) -> None:
    for body, field in BAD_OUTCOMES:
        session = await open_session(town)
        answer = await town.http.post(
            f"/sandbox/checkout/{session.id}/complete",
            content=body,
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code == 400
        if field:
            assert answer.json()["field"] == field
        assert await town.outbox(session) == []


UNKNOWN_PATHS = [UNKNOWN, "nonsense", "%00", "a" * 3000]


async def test_knows_no_payer_of_an_unknown_session(town: Town) -> None:
    for session_id in UNKNOWN_PATHS:
        answer = await town.http.post(
            f"/sandbox/checkout/{session_id}/complete", json={"outcome": "paid"}
        )
        assert answer.status_code == 404


# -- the card page --------------------------------------------------------------------------

GOOD_CARD = {"number": "4242 4242 4242 4242", "expiry": "12 / 34", "cvc": "123"}
PAID_URL = "https://shop.example/paid?session="


async def submit(town: Town, session: CheckoutSession, **changes: str) -> httpx.Response:
    return await town.http.post(f"/sandbox/pay/{session.id}", data=GOOD_CARD | changes)


async def test_shows_the_amount_the_notice_and_the_test_cards(town: Town) -> None:
    session = await open_session(town)
    page = await town.http.get(session.url)
    assert page.status_code == 200
    assert page.headers["Content-Security-Policy"] == POLICY
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-store"
    assert "Logo &amp; &lt;brand&gt; book" in page.text
    assert "INR\u00a012,000.00" in page.text
    assert "no real money" in page.text
    assert "<script" not in page.text
    assert 'href="https://shop.example/jobs?cancelled=true"' in page.text
    for card in CARDS:
        assert card.number in page.text
        assert passes_luhn(card.number.replace(" ", ""))
    style = await town.http.get("/static/sandbox.css")
    assert style.status_code == 200
    assert style.headers["Content-Type"].startswith("text/css")


AMOUNTS = [
    (1, "INR", "INR\u00a00.01"),
    (99_999_999, "SAR", "SAR\u00a0999,999.99"),
    (1_234, "JPY", "JPY\u00a01,234"),
    (1_234, "KWD", "KWD\u00a01.234"),
]


async def test_shows_each_currency_with_its_own_decimals(town: Town) -> None:
    for amount_minor, currency, shown in AMOUNTS:
        session = await open_session(town, amount_minor=amount_minor, currency=currency)
        assert (
            f'<p class="amount"><bdi>{shown}</bdi></p>' in (await town.http.get(session.url)).text
        )


async def test_pays_with_the_good_card_and_leads_back(town: Town) -> None:
    session = await open_session(town)
    # A double click: both submits end at the shop, one event leaves.
    answers = await asyncio.gather(submit(town, session), submit(town, session))
    for answer in [*answers, await submit(town, session)]:
        assert answer.status_code == 303
        assert answer.headers["Location"] == PAID_URL + session.id
    assert [event.paid for event in town.events(session)] == [True]
    page = await town.http.get(session.url)
    assert "This is paid" in page.text
    assert "<form" not in page.text


async def test_lets_a_declined_payer_try_again(town: Town) -> None:
    session = await open_session(town)
    answer = await submit(town, session, number="4000000000000002")
    assert answer.status_code == 402
    assert "The bank declined this card" in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert town.received == []
    assert (await submit(town, session)).status_code == 303


async def test_asks_for_confirmation_before_it_pays(town: Town) -> None:
    session = await open_session(town)
    answer = await submit(town, session, number="4000-0025-0000-3155")
    assert answer.status_code == 303
    confirmation = answer.headers["Location"]
    assert "is it you?" in (await town.http.get(confirmation)).text
    assert town.received == []
    failed = await town.http.post(confirmation, data={"answer": "fail"})
    assert failed.status_code == 402
    assert "could not confirm" in failed.text
    assert town.received == []
    confirmed = await town.http.post(confirmation, data={"answer": "confirm"})
    assert confirmed.headers["Location"] == PAID_URL + session.id
    assert [event.paid for event in town.events(session)] == [True]
    assert "This is paid" in (await town.http.get(confirmation)).text


async def test_accepts_the_slow_bank_without_calling_it_paid(town: Town) -> None:
    session = await open_session(town)
    answer = await submit(town, session, number="4000 0000 0000 0077")
    assert answer.headers["Location"] == PAID_URL + session.id
    assert [event.kind for event in town.events(session)] == [EventKind.CHECKOUT_UNPAID]
    assert "The bank is working on it" in (await town.http.get(session.url)).text


WRONG_FIELDS: list[tuple[dict[str, str], str]] = [
    ({"number": ""}, "Enter a card number."),
    ({"number": "4242 4242 4242 4241"}, "This is not a card number"),
    ({"number": "4242"}, "This is not a card number"),
    ({"number": "٤٢٤٢ ٤٢٤٢ ٤٢٤٢ ٤٢٤٢"}, "This is not a card number"),
    ({"number": "5555 5555 5555 4444"}, "only the test cards"),
    ({"expiry": ""}, "as MM / YY"),
    ({"expiry": "13/34"}, "as MM / YY"),
    ({"expiry": "00/34"}, "as MM / YY"),
    ({"expiry": "04/26"}, "must be in the future"),
    ({"expiry": "01/99"}, "must be in the future"),
    ({"cvc": "12"}, "Enter the 3 digits"),
    ({"cvc": "12a"}, "Enter the 3 digits"),
]


async def test_refuses_a_wrong_field_and_says_which(town: Town) -> None:
    for changes, text in WRONG_FIELDS:
        session = await open_session(town)
        answer = await submit(town, session, **changes)
        assert answer.status_code == 400
        assert text in answer.text
        assert await town.outbox(session) == []


UNREADABLE_FORMS = [b"", b"\xff", b"number=%FF&expiry=%00", b"&" * 100, b"a=1&" * 99]


async def test_answers_any_form_with_the_form(town: Town) -> None:
    for body in UNREADABLE_FORMS:
        session = await open_session(town)
        answer = await town.http.post(
            f"/sandbox/pay/{session.id}",
            content=body,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )
        assert answer.status_code == 400
        assert "Enter a card number." in answer.text or "This is not a card number" in answer.text


async def test_refuses_a_form_that_is_too_large(town: Town) -> None:
    session = await open_session(town)
    assert (await submit(town, session, number="4" * 9000)).status_code == 413


@pytest.mark.parametrize("field", ["number", "expiry", "cvc"])
async def test_never_repeats_or_stores_a_card_number(town: Town, field: str) -> None:
    session = await open_session(town)
    someones = "5555555555554444"
    answer = await submit(town, session, **{field: someones})
    assert answer.status_code == 400
    assert someones not in answer.text
    await submit(town, session)
    async with town.pool.connection() as connection:
        rows = await connection.fetch(
            "SELECT s::text AS row FROM sandbox.session AS s WHERE s.id = $1"
            " UNION ALL SELECT o::text || convert_from(o.body, 'UTF8') FROM sandbox.outbox AS o"
            " WHERE o.session_id = $1",
            session.id,
        )
    assert len(rows) == 2
    for row in rows:
        assert someones not in row["row"]
        assert "4242424242424242" not in row["row"]


def test_takes_a_card_until_the_end_of_its_month() -> None:
    last_moment = datetime(2026, 5, 31, 23, 59, tzinfo=UTC)
    for expiry in ("05/26", "5/26", "05 / 26", "0526", "05/2026", "05-26"):
        assert read_card(GOOD_CARD | {"expiry": expiry}, last_moment) == ("paid", {})
        answer, errors = read_card(GOOD_CARD | {"expiry": expiry}, last_moment + timedelta(hours=1))
        assert answer is None
        assert list(errors) == ["expiry"]


def test_takes_the_card_of_the_guide_whatever_the_year() -> None:
    guide = {"number": "5123 4500 0000 0008", "expiry": "01/27", "cvc": "100"}
    for now in (datetime(2026, 5, 1, tzinfo=UTC), datetime(2031, 5, 1, tzinfo=UTC)):
        assert read_card(guide, now) == ("paid", {})
        assert read_card(guide | {"expiry": "1 / 2027"}, now) == ("paid", {})
        assert read_card(guide | {"expiry": "12/35"}, now) == ("paid", {})
    answer, errors = read_card(guide | {"expiry": "02/27"}, datetime(2031, 5, 1, tzinfo=UTC))
    assert (answer, errors) == (None, {"expiry": "card.expiry-over"})
    answer, errors = read_card(GOOD_CARD | {"expiry": "01/27"}, datetime(2031, 5, 1, tzinfo=UTC))
    assert (answer, errors) == (None, {"expiry": "card.expiry-over"})


LANGUAGES = [
    ("ar", "rtl", "الدفع بالبطاقة", "12,000.00\u00a0INR", "رفض البنك هذه البطاقة"),
    ("hi", "ltr", "कार्ड से भुगतान", "INR\u00a012,000.00", "बैंक ने यह कार्ड अस्वीकार कर दिया"),
]


@pytest.mark.parametrize(("language", "direction", "heading", "amount", "declined"), LANGUAGES)
async def test_speaks_the_language_of_its_url_throughout(
    town: Town, language: str, direction: str, heading: str, amount: str, declined: str
) -> None:
    session = await open_session(town)
    url = f"{session.url}?lang={language}"
    page = await town.http.get(url, headers={"Accept-Language": "en"})
    assert f'<html lang="{language}" dir="{direction}">' in page.text
    assert page.headers["Content-Language"] == language
    assert heading in page.text
    assert amount in page.text
    assert f'action="/sandbox/pay/{session.id}?lang={language}"' in page.text
    again = await town.http.post(url, data=GOOD_CARD | {"number": "4000 0000 0000 0002"})
    assert declined in again.text
    asked = await town.http.post(url, data=GOOD_CARD | {"number": "4000 0025 0000 3155"})
    assert asked.headers["Location"] == f"/sandbox/pay/{session.id}/confirm?lang={language}"
    confirmation = await town.http.get(asked.headers["Location"])
    assert f'action="/sandbox/pay/{session.id}/confirm?lang={language}"' in confirmation.text
    by_browser = await town.http.get(session.url, headers={"Accept-Language": f"{language}-XX"})
    assert heading in by_browser.text
    unknown = await town.http.get(f"/sandbox/pay/{UNKNOWN}?lang={language}")
    assert f'dir="{direction}"' in unknown.text


async def test_says_that_a_session_has_expired(town: Town) -> None:
    session = await open_session(town)
    town.clock.advance(3600)
    page = await town.http.get(session.url)
    assert "has expired" in page.text
    assert "<form" not in page.text
    answer = await submit(town, session)
    assert (answer.status_code, answer.headers["Location"]) == (
        303,
        f"/sandbox/pay/{session.id}?lang=en",
    )
    assert town.received == []


async def test_says_that_a_payment_failed(town: Town) -> None:
    session = await open_session(town)
    await town.provider.complete(session.id, "failed")
    assert "The payment failed" in (await town.http.get(session.url)).text
    assert (await submit(town, session)).headers["Location"].endswith(f"{session.id}?lang=en")


UNKNOWN_PAGES = [UNKNOWN, "nonsense", "%00", "a" * 3000, "%F0%9F%92%B8"]


async def test_has_a_clean_page_for_an_unknown_session(town: Town) -> None:
    for path in UNKNOWN_PAGES:
        for answer in (
            await town.http.get(f"/sandbox/pay/{path}"),
            await town.http.post(f"/sandbox/pay/{path}", data=GOOD_CARD),
            await town.http.get(f"/sandbox/pay/{path}/confirm"),
            await town.http.post(f"/sandbox/pay/{path}/confirm", data={"answer": "confirm"}),
        ):
            assert answer.status_code == 404
            assert "There is no such payment page" in answer.text
            assert "Content-Security-Policy" in answer.headers


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://shop.example/a?b#c", "https://shop.example"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[::1]:3000/x", "http://[::1]:3000"),
        ("HTTPS://Shop.Example/", "https://shop.example"),
        ("ftp://shop.example/", None),
        ("//shop.example/", None),
        ("https://shop.example' *;x/", None),
        ("https://[::1/", None),
        ("https://bücher.example/", None),
    ],
)
def test_names_the_origin_of_a_url(url: str, expected: str | None) -> None:
    assert origin(url) == expected
