"""The sandbox provider's onboarding page in a real browser, in every language, with and without
scripts: Bob gets through it, and nothing about it is wrong."""

import pytest
from playwright.async_api import Browser

from earnest.checkout.wording import Language, wording
from shop import BOB
from test_checkout_browser import CHROMIUM, WAYS, Shop, browser, eyes_of, shop
from town import Town

__all__ = ["browser", "shop"]

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no Chromium on this machine (apt-get install chromium)"
)


@pytest.mark.parametrize(("language", "width", "scheme"), WAYS)
async def test_bob_can_be_paid_once_he_has_finished(
    town: Town, browser: Browser, shop: Shop, language: Language, width: int, scheme: str
) -> None:
    town.needs_onboarding = True
    lax, town.provider = town.provider, town.another_provider()
    account = await town.provider.create_account(BOB)
    link = await town.provider.create_onboarding_link(
        account.id, return_url=f"{shop.url}/paid-out", refresh_url=f"{shop.url}/again"
    )
    eyes = await eyes_of(browser, language, width, scheme, scripts=language is not Language.HINDI)
    page, t = eyes.page, wording(language)
    await page.goto(link.url)
    assert await page.inner_text("h1") == t.texts["payee.heading"]
    assert await page.inner_text("main .eyebrow") == BOB.name
    assert await page.get_attribute("html", "dir") == language.direction
    if language is not Language.HINDI:  # the examiner is a script
        await eyes.look()
    for other in Language:  # the link was opened once; its page can be read in each language
        await page.click(f'a[hreflang="{other}"]')
        await page.wait_for_url(f"**/visit/*lang={other}")
        assert await page.inner_text("h1") == wording(other).texts["payee.heading"]
    await page.click("button[value=finish]")
    await page.wait_for_url(f"{shop.url}/paid-out")
    assert shop.visits == ["/paid-out"]
    found = await town.provider.find_account(account.id)
    assert found is not None
    assert found.is_payable
    await page.goto(link.url)
    await page.wait_for_url(f"{shop.url}/again")
    assert eyes.wrong == []
    await lax.close()
