"""What people write: kept as the text that it is, shown as text everywhere, and never run.

Control and bidirectional characters are refused in every field by test_input_abuse.py.
"""

import shutil
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import msgspec
import pytest
from playwright.async_api import Browser, Dialog, Page, async_playwright

from digest import digest
from earnest.store.db import Pool
from life import Life, accepted
from refusals import refused
from web import PASSWORD, Cast, caller, problem

CHROMIUM = shutil.which("chromium")

MARKUP = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</p></main></body><iframe srcdoc='<script>alert(1)</script>'>",
    "<a href=javascript:alert(1)>click</a>",
    "{{7*7}} {% include 'x' %} ${7*7} #{7*7} <%= 7*7 %>",
    "&lt;b&gt; &amp; &#60;script&#62;",
    "]]><!-- --!> <!--",
    "\\u003cscript\\u003e \\x3cb\\x3e",
    "=HYPERLINK(1) +1 -1 @x %00 %s",
    "'; DROP TABLE job; --",
)
SPELLED = (
    "Cafe\u0301",  # NFC makes one letter of the last two
    "\u0958\u0932\u092e",  # NFC makes two letters of the first
    "\u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian needs a ZWNJ,
    "\u0915\u094d\u200d\u0937",  # Hindi a ZWJ,
    "\U0001f469\u200d\U0001f4bb\ufe0f",  # a family of emoji, too
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",  # from right to left by itself
    "Al\u200bice\u2060",  # tells nobody who she is: contracts name people by their id
    "a" + "\u0301" * 30,
)
PILES = (
    "a" + "\u0301" * 31,
    "\u0315\u0300" * 16,
    "x" + "\u05b0\u05b1" * 20 + "y",
    "e" + "\U0001d165" * 31,
)
UNSEEN = (
    " ",
    "\u00a0\u2003\u3000",
    "\u200b\u200b",
    "\u200d\ufeff\u2060",
    "\u3164",
    "\u115f\u1160",
    "\u2800",
    "\u00ad",
    "\U000e0041",
    "\ufe0f",
)

LINES = ("two\nlines", "two\r\nlines", "two\u2028lines", "two\u2029lines", "a\ttab")

Answer = Awaitable[httpx.Response]


class Place(msgspec.Struct, frozen=True):
    """Somewhere a text goes: how it is sent, and where it is then read."""

    write: Callable[[Cast, str], Answer]
    read: Callable[[Cast], Answer]
    must_be_seen: bool = True
    is_line: bool = True


def in_job(field: str) -> Place:
    return Place(
        lambda cast, text: cast.alice.post(
            "/api/client/job/create-job", json=cast.job(**{field: text})
        ),
        lambda cast: cast.anybody.get("/api/client/job/get-jobs?limit=1"),
        is_line=field != "description",
    )


def in_profile(
    name: str, field: str, *, must_be_seen: bool = False, is_list: bool = False
) -> Place:
    path = "/api/{}/profile/{}-profile/{}"
    return Place(
        lambda cast, text: getattr(cast, name).put(
            path.format(getattr(cast, name).actor.role, "update", getattr(cast, name).id),
            json={field: [text] if is_list else text},
        ),
        lambda cast: getattr(cast, name).get(
            path.format(getattr(cast, name).actor.role, "get", getattr(cast, name).id)
        ),
        must_be_seen,
        is_line=field != "bio",
    )


def in_label(shelf: str, verb: str) -> Place:
    return Place(
        lambda cast, text: cast.olga.post(f"/api/admin/{shelf}/{verb}", json={"name": text}),
        lambda cast: cast.anybody.get(f"/api/admin/{shelf}/get-{shelf}"),
    )


def in_admin() -> Place:
    def write(cast: Cast, text: str) -> Answer:
        email = f"{text.encode().hex()[-40:]}@example.com"
        body = {"name": text, "email": email, "password": PASSWORD}
        return cast.olga.post("/api/admin/users/create-admin", json=body)

    return Place(write, lambda cast: cast.olga.get("/api/admin/users/get-admins"))


PLACES = {
    "title of a job": in_job("title"),
    "description of a job": in_job("description"),
    "location of a job": in_job("location"),
    "first name of a client": in_profile("alice", "firstName", must_be_seen=True),
    "company of a client": in_profile("alice", "companyName"),
    "bio of a freelancer": in_profile("bob", "bio"),
    "language of a freelancer": in_profile("bob", "language", is_list=True),
    "name of a category": in_label("categories", "add-category"),
    "name of a skill": in_label("skills", "add-skills"),
    "name of an admin": in_admin(),
}


def texts_in(value: Any) -> set[str]:
    """Every text of a document."""
    if isinstance(value, str):
        return {value}
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {text for each in inner for text in texts_in(each)}


def read_back(answer: httpx.Response, text: str) -> None:
    """A page in a browser must take it for data, and find the text in it that was sent."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert unicodedata.normalize("NFC", text) in texts_in(answer.json()), text


# -- as it is ---------------------------------------------------------------------------------


@pytest.mark.abuse(119)
async def test_it_keeps_every_text_as_it_is(cast: Cast) -> None:
    for place, where in PLACES.items():
        for text in (*MARKUP, *SPELLED):
            answer = await where.write(cast, text)
            assert answer.is_success, f"{place}: {text}: {answer.text}"
            read_back(answer, text)
            read_back(await where.read(cast), text)


@pytest.mark.abuse(119)
async def test_it_keeps_reviews_and_reasons_as_they_are(cast: Cast) -> None:
    for text in (*MARKUP, *SPELLED):
        life = await Life.at(cast, "completed")
        review = {
            "contractId": life.contract,
            "freelancerId": cast.bob.id,
            "rating": 1,
            "description": text,
        }
        path = f"/api/client/review/rate-freelancer/{cast.alice.id}"
        read_back(await cast.alice.post(path, json=review), text)
        path = f"/api/client/review/show-reviews/{cast.bob.id}"
        read_back(await cast.anybody.get(path), text)

        life = await Life.at(cast, "paid")
        path = f"/api/admin/escrow/refund-client/{life.contract}/{cast.alice.id}"
        reasons = {"cancelReason": text, "cancelReasonDescription": f"({text})"}
        accepted(await cast.alice.put(path, json=reasons))
        seen = await cast.alice.get(f"/api/freelancer/contract/view-contract/{life.contract}")
        read_back(seen, text)
        read_back(seen, f"({text})")


@pytest.mark.abuse(119)
async def test_it_keeps_the_name_of_who_registers(cast: Cast) -> None:
    for number, text in enumerate((*MARKUP, *SPELLED)):
        async with caller(cast.app, address=f"192.0.2.{number}") as carol:
            person = {
                "name": text,
                "email": f"carol{number}@example.com",
                "password": PASSWORD,
                "role": "client",
            }
            accepted(await carol.post("/api/auth/register", json=person))
            letters = accepted(await carol.get("/sandbox/mailbox", params={"to": person["email"]}))
            sent = {"email": person["email"], "otp": letters[0]["code"], "userData": person}
            accepted(await carol.post("/api/auth/verify-otp", json=sent), 201)
    listed = await cast.olga.get("/api/admin/users/get-clients")
    for text in (*MARKUP, *SPELLED):
        read_back(listed, text)


# -- what is no text --------------------------------------------------------------------------


@pytest.mark.abuse(119)
async def test_it_refuses_piles_of_marks_and_names_that_nobody_could_see(
    cast: Cast, pool: Pool
) -> None:
    for place, where in PLACES.items():
        answer = await where.write(cast, "a text")
        assert answer.is_success, f"{place}: {answer.text}"
        before = await digest(pool)
        for text in PILES + (LINES if where.is_line else ()):
            problem(await where.write(cast, text), 400)
        for text in UNSEEN if where.must_be_seen else ():
            answer = await where.write(cast, text)
            assert answer.status_code in (400, 409), f"{place}: {text!a}: {answer.text}"
        assert await digest(pool) == before, place
        for text in () if where.must_be_seen else UNSEEN:  # an empty text empties the field
            assert text not in texts_in(accepted(await where.write(cast, text)))


@pytest.mark.abuse(119)
async def test_it_refuses_ten_thousand_marks_before_it_puts_them_in_order(
    cast: Cast, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered: list[int] = []
    normalize = unicodedata.normalize

    def counted(form: Any, text: str) -> str:
        ordered.append(len(text))
        return normalize(form, text)

    monkeypatch.setattr(unicodedata, "normalize", counted)
    for pile in ("a" + "\u0301" * 10_000, "a" + "\u0315" * 9_000 + "\u0300" * 9_000):
        asked = cast.alice.post("/api/client/job/create-job", json=cast.job(description=pile))
        await refused(cast, asked, 400)
    assert [size for size in ordered if size > 200] == []
    long = "\u0939\u093f\u0928\u094d\u0926\u0940 " * 2_800  # as long, and honest
    job = cast.job(description=long)
    accepted(await cast.alice.post("/api/client/job/create-job", json=job))


# -- in a browser -----------------------------------------------------------------------------


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        await opened.close()


class Watched:
    """A page, and what happened on it that should not."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.on("dialog", self.on_dialog)
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))

    async def on_dialog(self, dialog: Dialog) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    async def elements(self) -> int:
        """How many there are that no page of ours has."""
        ours = "svg:not([focusable=false])"
        return await self.page.locator(f"script, img, {ours}, iframe, a[href^=javascript]").count()


@pytest.mark.abuse(119)
async def test_it_runs_nothing_of_a_text_in_a_browser(
    cast: Cast, served: httpx.AsyncClient, browser: Browser
) -> None:
    title, rest = " ".join(MARKUP)[:200].strip(), " ".join(MARKUP)
    job = await cast.post_job(title=title, description=rest, location=title)
    accepted(await cast.bob.post(f"/api/freelancer/jobs/apply-job/{job}"), 201)
    life = Life(cast, job)
    session = await life.checkout()
    origin = str(served.base_url).rstrip("/")
    pay = f"{origin}/sandbox/pay/{session}"
    watched = Watched(await browser.new_page())
    page = watched.page
    page.set_default_timeout(20_000)

    for card, expected in (("4000000000000002", "declined"), ("4000002500003155", "is it you?")):
        await page.goto(pay)
        assert await page.locator("main .eyebrow bdi").inner_text() == title
        assert await watched.elements() == 0
        for field, value in (("number", card), ("expiry", "12/40"), ("cvc", "123")):
            await page.fill(f"[name={field}]", value)
        await page.click("button[type=submit]")
        assert expected in await page.inner_text("main")
        assert await page.locator("main .eyebrow bdi").inner_text() == title
    await cast.app.state.provider.complete(session, "paid")
    await page.goto(pay)
    assert "This is paid" in await page.inner_text("main")
    assert await page.locator("main .eyebrow bdi").inner_text() == title
    assert await watched.elements() == 0

    nasty = "%3Cscript%3Ealert(1)%3C%2Fscript%3E"
    for path in (
        "/api/client/job/get-jobs",
        f"/api/client/job/my-jobs/{cast.alice.id}",
        f"/api/client/job/get-jobs?search={nasty}&page={nasty}",
        f"/api/client/job/my-jobs/{nasty}",
        f"/{nasty}",
        f"/sandbox/pay/{nasty}",
        f"/static/{nasty}",
    ):
        await page.goto(f"{origin}{path}")
        assert await watched.elements() == 0, path
    assert watched.wrong == []


@pytest.mark.abuse(119)
async def test_its_canary_the_browser_notices_a_dialog(browser: Browser) -> None:
    watched = Watched(await browser.new_page())
    await watched.page.goto("data:text/html,<p id=x></p>")
    await watched.page.evaluate(
        "text => { document.querySelector('#x').innerHTML = text }", MARKUP[1]
    )
    await watched.page.wait_for_function("document.querySelector('#x img')")
    assert await watched.elements() == 1
    for _ in range(100):
        if watched.wrong:
            break
        await watched.page.wait_for_timeout(20)
    assert watched.wrong == ["dialog: 1"]
