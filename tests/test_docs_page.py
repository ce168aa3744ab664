"""The page at /docs in a real browser: it renders, asks nobody else, and breaks no policy."""

import shutil
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
from playwright.async_api import Page, async_playwright

from earnest.web.docs_page import CONTENT_SECURITY_POLICY
from web import Caller, problem

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
WIDTHS = (390, 1280)

browsed = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium (apt-get install chromium)")


class Visit(msgspec.Struct):
    """A page that was loaded, every URL it asked for and everything it complained about."""

    page: Page
    asked: list[str]
    complaints: list[str]


@pytest.fixture
async def visit(served: httpx.AsyncClient) -> AsyncIterator[Visit]:
    """/docs in Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        page = await browser.new_page()
        made = Visit(page, [], [])
        page.on("request", lambda request: made.asked.append(request.url))
        page.on("console", lambda message: made.complaints.append(message.text))
        page.on("pageerror", lambda error: made.complaints.append(str(error)))
        page.on("requestfailed", lambda request: made.complaints.append(request.url))
        answer = await page.goto(f"{served.base_url}/docs")
        assert answer is not None
        assert answer.status == 200
        yield made
        await browser.close()


@browsed
async def test_it_shows_every_operation_and_schema(visit: Visit, served: httpx.AsyncClient) -> None:
    described = (await served.get("/openapi.json")).json()
    shown = await visit.page.eval_on_selector_all("article", "all => all.map(one => one.id)")
    operations = [
        one["operationId"] for path in described["paths"].values() for one in path.values()
    ]
    own = [one for one in operations if not one.endswith("Alias")]
    schemas = [f"schema-{name}" for name in described["components"]["schemas"]]
    assert sorted(shown) == sorted([*own, *schemas])
    text = await visit.page.inner_text("main")
    for path in described["paths"]:
        assert path in text.replace("\u200b", "")


@browsed
async def test_it_asks_nobody_else_and_breaks_no_policy(
    visit: Visit, served: httpx.AsyncClient
) -> None:
    await visit.page.evaluate(
        "document.querySelectorAll('details').forEach(one => one.open = true)"
    )
    await visit.page.wait_for_load_state("networkidle")
    base = str(served.base_url)
    assert sorted(set(visit.asked)) == [
        f"{base}/docs",
        f"{base}/static/docs.css",
        f"{base}/static/mark.svg",
    ]
    assert visit.complaints == []
    applied = "getComputedStyle(document.querySelector('article')).borderTopStyle"
    assert await visit.page.evaluate(applied) == "solid"


@browsed
@pytest.mark.parametrize("width", WIDTHS)
async def test_it_fits_its_window(visit: Visit, width: int) -> None:
    await visit.page.set_viewport_size({"width": width, "height": 800})
    await visit.page.evaluate(
        "document.querySelectorAll('details').forEach(one => one.open = true)"
    )
    assert await visit.page.evaluate("document.documentElement.scrollWidth") <= width


@browsed
async def test_its_links_lead_somewhere(visit: Visit) -> None:
    nowhere = await visit.page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(one => one.getAttribute('href'))"
        ".filter(href => !document.getElementById(href.slice(1)))"
    )
    assert nowhere == []
    await visit.page.click("nav summary:has-text('Escrow')")
    await visit.page.click("nav a[href='#releaseFund']")
    assert visit.page.url.endswith("#releaseFund")
    assert await visit.page.is_visible("#releaseFund")


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
async def test_it_is_sent_once_to_who_keeps_it(api: Caller, path: str) -> None:
    first = await api.get(path)
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-cache"
    etag = first.headers["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await api.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    other = await api.get(path, headers={"If-None-Match": '"other"'})
    assert other.content == first.content


async def test_it_runs_nothing(api: Caller) -> None:
    page = await api.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "<script" not in page.text
    assert "style=" not in page.text


async def test_below_it_is_nothing(api: Caller) -> None:
    for path in ("/docs/x", "/docs/openapi.json", "/docs/../openapi.jsn", "/openapi.json/x"):
        problem(await api.get(path), 404)
    assert (await api.post("/docs")).headers["allow"].split(", ")[0] == "GET"
