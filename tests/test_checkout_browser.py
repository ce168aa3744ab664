"""The checkout in a real browser: nobody else is asked, nothing is broken, everybody can use it.

EARNEST_TEST_SCREENSHOTS=1 writes the pictures of the documentation anew (docs/images); the fonts
of this machine decide how they look, so they are looked at before they are committed.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from playwright.async_api import Browser, Page, Request, async_playwright

from counter import Counter, Order, milestones, person
from earnest.checkout.wording import Language, wording
from partners import make_broker
from people import ANSWERS, BANK_ACCOUNT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
IMAGES = Path(__file__).parent.parent / "docs" / "images"
WIDTHS = (320, 390, 1280)
AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
TOO_SMALL = """
[...document.querySelectorAll("main :is(a, button, label, input), nav a")]
    .filter(one => !["radio", "hidden"].includes(one.type))
    .map(one => [one.outerHTML, one.getBoundingClientRect()])
    .filter(([_, box]) => Math.min(box.width, box.height) < 24).map(([html]) => html)
"""
DECLINED, ASKS, SLOW = "4000 0000 0000 0002", "4000 0025 0000 3155", "4000 0000 0000 0077"
GUIDES = "5123 4500 0000 0008"
KEPT = {
    "order-en-1280", "order-en-390", "order-ar-390", "order-hi-320", "card-en-390",
    "card-ar-1280", "identity-ar-390", "success-en-390", "slow-bank-ar-390", "expired-en-390",
}  # fmt: skip
"""The pictures that the documentation has."""
TODAY = datetime.now(UTC)
DUE = [(TODAY + timedelta(days=days)).strftime("%Y-%m-%dT00:00:00.000Z") for days in (30, 60)]
ENGLISH: dict[str, Any] = {
    "description": "A logo, a box and a bag in two colours, with all source files.",
    "Milestones": [one | {"DueDate": due} for one, due in zip(milestones(), DUE, strict=True)],
}
ARABIC: dict[str, Any] = {
    "title": "تصميم شعار ومطبوعات لمخبز",
    "description": "شعار وعلبة وكيس بلونين، مع جميع الملفات المصدرية.",
    "BuyerParty": person("966500000011", "هدى"),
    "SellerParty": person("966500000012", "عمر"),
    "Milestones": [
        one | {"Name": name, "Description": ""}
        for one, name in zip(ENGLISH["Milestones"], ("المسودة", "الملفات النهائية"), strict=True)
    ],
}

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium on this machine (apt-get install chromium)"
)


class Shop(msgspec.Struct):
    """The partner's site, on another origin. `visits` are the paths that were asked for."""

    url: str
    visits: list[str]


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    visits: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"\r\nreferer:" not in head.lower(), "the link has gone to another site"
        visits.append(head.split(b" ")[1].decode())
        body = b"<!doctype html><html lang=en><title>Shop</title><link rel=icon href=data:,>Thanks"
        lines = (b"HTTP/1.1 200 OK", b"Content-Type: text/html", b"Connection: close")
        writer.write(b"\r\n".join((*lines, b"Content-Length: %d" % len(body), b"", body)))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Shop(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", visits)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield opened
        await opened.close()


class Eyes:
    """A buyer's page, and everything about it that should not be."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.wrong: list[str] = []
        page.set_default_timeout(20_000)
        page.on("console", lambda said: self.wrong.append(f"console: {said.text}"))
        page.on("pageerror", lambda error: self.wrong.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.wrong.append(f"dialog: {dialog.message}"))
        page.on("request", self._asked)
        page.on("requestfailed", lambda request: self.wrong.append(f"failed: {request.url}"))

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).hostname != "127.0.0.1":
            self.wrong.append(f"asked: {request.url}")

    async def look(self, picture: str = "") -> None:
        """Hold the present page to what holds for every page."""
        found = await Axe().run(
            self.page, options={"runOnly": AXE_TAGS, "resultTypes": ["violations"]}
        )
        assert found.response["violations"] == [], found.generate_snapshot()
        size = self.page.viewport_size
        assert size is not None
        for width in sorted({*WIDTHS, size["width"]}):
            await self.page.set_viewport_size({"width": width, "height": size["height"]})
            wide = await self.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{self.page.url} is {wide} wide"
        await self.page.set_viewport_size(size)
        assert await self.page.evaluate(TOO_SMALL) == []
        if picture in KEPT and os.environ.get("EARNEST_TEST_SCREENSHOTS") == "1":
            await self._keep(IMAGES / f"checkout-{picture}.png")

    async def _keep(self, path: Path) -> None:
        await self.page.screenshot(path=path, full_page=True)
        quantise = shutil.which("pngquant")
        if quantise:
            args = (quantise, "--force", "--ext", ".png", "--strip", "64", str(path))
            process = await asyncio.create_subprocess_exec(*args)
            assert await process.wait() == 0

    async def type_card(self, number: str) -> None:
        for field, value in (("number", number), ("expiry", "01/40"), ("cvc", "100")):
            await self.page.fill(f"#{field}", value)
        await self.page.click("form button")


async def eyes_of(
    browser: Browser, language: Language, width: int, scheme: str = "light", **other: bool
) -> Eyes:
    """A browser of somebody who reads `language`."""
    context = await browser.new_context(
        locale=f"{language}-SA",
        viewport={"width": width, "height": 844},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=other.get("scripts", True),
    )
    return Eyes(await context.new_page())


async def an_order(counter: Counter, shop: Shop, language: Language) -> Order:
    said = ARABIC if language is Language.ARABIC else ENGLISH
    return await counter.order(**{**said, "callbackUrl": f"{shop.url}/done?order=7"})


WAYS = [
    (Language.ENGLISH, 1280, "light"),
    (Language.ENGLISH, 390, "dark"),
    (Language.ARABIC, 390, "light"),
    (Language.ARABIC, 1280, "dark"),
    (Language.HINDI, 320, "light"),
]


@pytest.mark.parametrize(("language", "width", "scheme"), WAYS)
async def test_a_buyer_pays_and_is_back_at_the_shop(
    counter: Counter, browser: Browser, shop: Shop, language: Language, width: int, scheme: str
) -> None:
    order = await an_order(counter, shop, language)
    eyes = await eyes_of(browser, language, width, scheme)
    page, t, of = eyes.page, wording(language), f"{language}-{width}"
    await page.goto(order.link)
    assert await page.evaluate("document.dir") == language.direction
    assert await page.locator("html").get_attribute("lang") == language
    await eyes.look(f"order-{of}")

    await page.click("form button")
    await page.wait_for_url("**/sandbox/pay/*")
    assert await page.locator("html").get_attribute("lang") == language
    await eyes.look(f"card-{of}")
    await eyes.type_card(DECLINED)
    assert await page.locator("[role=alert] a").inner_text() == t("card.number-declined")
    # The card was declined with 402, which a browser writes to its console.
    assert [said for said in eyes.wrong if "402" not in said] == []
    eyes.wrong.clear()
    await eyes.look()
    await page.click("[role=alert] a")
    assert await page.evaluate("document.activeElement.id") == "number"

    await eyes.type_card(ASKS)
    await page.wait_for_url("**/confirm?*")
    await eyes.look()
    await page.click("button[value=confirm]")
    await page.wait_for_url(f"{shop.url}/done?*")
    assert await page.inner_text("body") == "Thanks"
    [path] = shop.visits
    query = parse_qs(urlsplit(path).query)
    assert (query["order"], query["Status"]) == (["7"], ["success"])
    assert query["contractId"] == [order.number]
    assert len(query["signature"][0].split(".")) == 3
    assert eyes.wrong == []

    await page.goto(order.link)
    assert await page.inner_text("h1") == t("checkout.paid.title")
    await eyes.look()
    assert eyes.wrong == []


async def test_a_language_that_was_chosen_stays_chosen(
    counter: Counter, browser: Browser, shop: Shop
) -> None:
    order = await an_order(counter, shop, Language.ENGLISH)
    eyes = await eyes_of(browser, Language.ENGLISH, 390)
    await eyes.page.goto(order.link)
    await eyes.page.click("nav a[lang=ar]")
    assert await eyes.page.evaluate("document.dir") == "rtl"
    await eyes.page.click("form button")
    await eyes.page.wait_for_url("**/sandbox/pay/*")
    assert await eyes.page.evaluate("document.dir") == "rtl"
    await eyes.page.click("nav a[lang=hi]")
    assert await eyes.page.inner_text("h2") == wording(Language.HINDI)("card.heading")
    await eyes.page.click(".after a")
    await eyes.page.wait_for_url("**/checkout?*")
    assert await eyes.page.evaluate("document.dir") == "rtl"
    assert eyes.wrong == []


async def test_it_works_without_scripts_and_by_keyboard_alone(
    counter: Counter, browser: Browser, shop: Shop
) -> None:
    order = await an_order(counter, shop, Language.ENGLISH)
    eyes = await eyes_of(browser, Language.ENGLISH, 390, scripts=False)
    page, press = eyes.page, eyes.page.keyboard.press
    await page.goto(order.link)
    await press("Tab")
    await press("Enter")  # the link that skips to the content
    await press("Tab")
    await press("Enter")
    await page.wait_for_url("**/sandbox/pay/*")
    for _ in range(5):  # past the skip link and the languages
        await press("Tab")
    for typed in (GUIDES, "01/27", "100"):
        await page.keyboard.type(typed)
        await press("Tab")
    await press("Enter")
    await page.wait_for_url(f"{shop.url}/done?*")
    assert "Status=success" in shop.visits[0]
    assert eyes.wrong == []


async def test_what_has_the_focus_shows_it(counter: Counter, browser: Browser, shop: Shop) -> None:
    order = await an_order(counter, shop, Language.ENGLISH)
    eyes = await eyes_of(browser, Language.ENGLISH, 390)
    await eyes.page.goto((await order.press_pay()).headers["Location"])
    seen = []
    for _ in range(9):
        await eyes.page.keyboard.press("Tab")
        outline = "getComputedStyle(document.activeElement).outline"
        name = "document.activeElement.id || document.activeElement.tagName"
        seen.append(await eyes.page.evaluate(name))
        assert "solid 3px" in await eyes.page.evaluate(outline), seen
    assert seen[-4:] == ["expiry", "cvc", "BUTTON", "A"]


@pytest.mark.parametrize("language", [Language.ENGLISH, Language.ARABIC])
async def test_every_end_of_a_payment_has_a_page(
    counter: Counter, browser: Browser, language: Language
) -> None:
    eyes = await eyes_of(browser, language, 390)
    page, t = eyes.page, wording(language)
    said: dict[str, Any] = ARABIC if language is Language.ARABIC else {}

    paid = await counter.order(**{**said, "callbackUrl": None})
    await page.goto(paid.link)
    await page.click("form button")
    await eyes.type_card(GUIDES)
    await page.wait_for_url("**/checkout/return?*")
    await page.wait_for_function("!document.location.search.includes('arrived')")
    assert await page.inner_text("h1") == t("checkout.success.title")
    await eyes.look(f"success-{language}-390")

    slow = await counter.order(**{**said, "callbackUrl": None})
    await page.goto(slow.link)
    await page.click("form button")
    await eyes.type_card(SLOW)
    await page.wait_for_function("!document.location.search.includes('arrived')")
    assert await page.inner_text("h1") == t("checkout.processing.title")
    await eyes.look(f"slow-bank-{language}-390")

    session = dict(await counter.sessions())
    [open_session] = [one for one, state in session.items() if state == "processing"]
    await counter.app.state.provider.complete(open_session, "failed")
    await page.click("main a.button")
    assert await page.inner_text("h1") == t("checkout.failed.title")
    await eyes.look()
    await page.click("main a.button")
    assert await page.locator("[role=alert]").inner_text() == t("checkout.again")
    await eyes.look()

    ended = await counter.order(**said)
    await ended.tell("reject")
    await page.goto(ended.link)
    assert await page.inner_text("h1") == t("checkout.rejected.title")
    await eyes.look()
    assert eyes.wrong == []

    await counter.advance(601)
    for link, title in (
        (ended.link, "checkout.expired.title"),
        (f"{counter.url}/checkout?token=x", "page.link.title"),
        (f"{counter.url}/checkout/nothing", "page.nothing.title"),
        (f"{counter.url}/sandbox/pay/nothing", "card.unknown.title"),
    ):
        await page.goto(link)
        assert await page.inner_text("h1") == t(title)
        await eyes.look(f"expired-{language}-390" if "expired" in title else "")
    # What a browser says of a status of 4xx.
    assert [one for one in eyes.wrong if "the server responded with a status of" not in one] == []


async def test_a_page_that_waits_goes_on_by_itself(
    counter: Counter, browser: Browser, shop: Shop
) -> None:
    order = await an_order(counter, shop, Language.ENGLISH)
    await order.press_pay()
    [(session, _)] = await counter.sessions()
    mute = counter.mute_provider()
    await mute.complete(session, "paid")
    await mute.close()
    eyes = await eyes_of(browser, Language.ENGLISH, 390)
    await eyes.page.goto(f"{counter.url}/checkout/return?token={order.token}&lang=en&arrived=1")
    assert await eyes.page.inner_text("h1") == "Checking your payment"
    await eyes.page.wait_for_url("**tries=1&*")
    assert shop.visits == []
    await counter.advance(5)
    await counter.app.state.provider.deliver_due()
    await eyes.page.wait_for_url(f"{shop.url}/done?*")
    assert "Status=success" in shop.visits[0]


@pytest.mark.parametrize("language", [Language.ENGLISH, Language.ARABIC])
async def test_a_buyer_proves_who_they_are_first_where_the_partner_wants_it(
    counter: Counter, browser: Browser, shop: Shop, language: Language
) -> None:
    broker = await make_broker(counter.app, "Careful Broker", require_kyc=True)
    async with broker.client:
        buyer = {"BuyerParty": person("966500000021", "Huda", "Saleh")}
        order = await counter.order(broker, **{**buyer, "callbackUrl": f"{shop.url}/done"})
        eyes = await eyes_of(browser, language, 390)
        page = eyes.page
        await page.goto(order.link)
        assert await page.locator("form").count() == 0
        await eyes.look()
        await page.click(".pay a.button")
        await eyes.look(f"identity-{language}-390")
        for field, value in (("national_id", "1087654321"), ("born", "1991-07-14")):
            await page.fill(f"[name={field}]", value)
        for field, value in (("first_name", "Huda"), ("last_name", "Saleh")):
            await page.fill(f"[name={field}]", value)
        await page.click("form button")
        await page.wait_for_selector("[name=has_regular_income]")
        await eyes.look()
        for field, value in ANSWERS.items():
            await page.check(f"[name={field}][value={value}]")
        await page.click("form button")
        await page.wait_for_selector("[name=code]")
        await eyes.look()
        letters = await counter.http.get("/sandbox/mailbox", params={"to": "966500000021"})
        await page.fill("[name=code]", letters.json()[0]["code"])
        await page.click("form button >> nth=0")
        await page.wait_for_selector("[name=iban]")
        await eyes.look()
        for field, value in BANK_ACCOUNT.items():
            await page.fill(f"[name={field}]", value)
        await page.click("form button")
        await page.wait_for_selector(".pay form")
        await page.click(".pay form button")
        await eyes.type_card(GUIDES)
        await page.wait_for_url(f"{shop.url}/done?*")
        assert "Status=success" in shop.visits[0]
        assert eyes.wrong == []


def test_its_pictures_are_there_and_small() -> None:
    pictures = sorted(IMAGES.glob("checkout-*.png"))
    assert {picture.stem.removeprefix("checkout-") for picture in pictures} == KEPT
    for picture in pictures:
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert picture.stat().st_size < 120_000, picture
