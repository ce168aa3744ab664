"""The existing web client and its session: it lasts as long as it may, unnoticed, and ends for
those who are kept out, but for nobody who merely breaks a rule (spec 1.1)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from conftest import TestDatabase
from earnest.domain.party import Role
from frontend import Frontend, LoggedOut, Refusal
from storefront import RATE, TITLE, People, Storefront, open_storefront
from web import PASSWORD, UNKNOWN_ID
from xhr import Browser, Unreadable

ROTATED_EARLIER = """
UPDATE refresh_token SET rotated_at = rotated_at - make_interval(secs => $1)
WHERE rotated_at IS NOT NULL
"""
NEW_PASSWORD = "Moon%light8"


async def lands_on_login(asked: Awaitable[object], tab: Frontend) -> None:
    with pytest.raises(LoggedOut):
        await asked
    assert tab.token is None


# -- while it lasts -----------------------------------------------------------------------------


@pytest.mark.parametrize("anonymous_reads", [True, False])
async def test_an_access_token_runs_out_unnoticed(
    database: TestDatabase, anonymous_reads: bool
) -> None:
    async with open_storefront(database.app_dsn, anonymous_reads=anonymous_reads) as shop:
        people = await People.of(shop)
        alice, bob, olga = people.alice, people.bob, people.olga
        shop.let_token_expire(alice)
        job = await people.job()
        assert alice.refreshes == 1
        assert (await alice.fetch_my_jobs(alice.id)).total == 1, "the write was made once"
        steps: tuple[tuple[Frontend, int, Callable[[], Awaitable[object]]], ...] = (
            (bob, 1, lambda: bob.apply_job(job)),
            (alice, 0, lambda: alice.show_applicants(job, alice.id)),
            (alice, 1, lambda: alice.create_contract(job, bob.id, RATE)),
            (bob, 1, lambda: bob.get_contracts(bob.id)),
            (bob, 0, lambda: bob.labels("skills")),
            (bob, 1, lambda: bob.is_contract_created(job, bob.id)),
            (alice, 1, lambda: alice.pay_now(job, TITLE, RATE, bob.id)),
            (olga, 1, olga.escrow_balance),
            (olga, 0, olga.fetch_all_contracts),
        )
        for tab, refreshes, step in steps:
            shop.let_token_expire(tab)
            before = tab.refreshes
            await step()
            assert tab.refreshes == before + refreshes
        assert len(await alice.get_client_contracts(alice.id)) == 1


async def test_whoever_lost_the_access_token_gets_another(people: People) -> None:
    """Scripts keep it in a cookie that goes when the browser is closed."""
    bob = people.bob
    bob.browser.store(None)
    assert await bob.get_contracts(bob.id) == [], "the other cookie says who reads"
    assert bob.refreshes == 0
    assert await bob.view_applied_jobs() == []
    assert bob.refreshes == 1


async def test_tabs_refresh_at_the_same_time(people: People) -> None:
    """Each call of each tab that meets a 401 refreshes for itself, with the one cookie (D19)."""
    tabs = [people.bob, *(Frontend(people.bob.browser) for _ in range(3))]
    for _ in range(3):
        people.shop.let_token_expire(people.bob)
        await asyncio.gather(
            *(tab.view_applied_jobs() for tab in tabs),
            *(tab.get_wallet(people.bob.id) for tab in tabs),
        )
    assert sum(tab.refreshes for tab in tabs) >= len(tabs)


async def test_a_slow_tab_may_use_the_cookie_before_last(people: People) -> None:
    """Its request was under way with it. Thirty seconds later only a thief would."""
    bob, shop = people.bob, people.shop
    slow, thief = (copy_of(shop, bob) for _ in range(2))
    for tab in (bob, slow):
        shop.let_token_expire(bob)
        tab.browser.store(bob.token)
        await tab.view_applied_jobs()
    await shop.execute(ROTATED_EARLIER, 31)
    for tab in (bob, slow):
        await tab.refresh_token()
    await shop.execute(ROTATED_EARLIER, 31)
    await lands_on_login(thief.view_applied_jobs(), thief)
    for tab in (bob, slow):
        await lands_on_login(tab.view_applied_jobs(), tab)


def copy_of(shop: Storefront, tab: Frontend) -> Frontend:
    """What somebody has who has the cookies of `tab`."""
    copied = shop.stranger()
    copied.browser.http.cookies.update(tab.browser.http.cookies)
    return copied


async def test_a_new_password_ends_the_session_everywhere_else(people: People) -> None:
    alice = people.alice
    elsewhere = people.shop.stranger()
    await elsewhere.login_user("alice@example.com", PASSWORD)
    await alice.request_password_reset("alice@example.com", PASSWORD, NEW_PASSWORD)
    job = await people.job()
    assert alice.refreshes == 1
    await lands_on_login(elsewhere.job_details(job), elsewhere)
    with pytest.raises(Refusal) as refused:
        await elsewhere.login_user("alice@example.com", PASSWORD)
    assert refused.value.status == 404
    await elsewhere.login_user("alice@example.com", NEW_PASSWORD)
    await elsewhere.job_details(job)


async def test_a_forgotten_password_is_set_anew_with_the_mailed_link(people: People) -> None:
    shop, bob = people.shop, people.bob
    tab = shop.stranger()
    await tab.forgot_password("bob@example.com")
    link = urlsplit((await shop.letter("bob@example.com"))["link"])
    assert f"{link.scheme}://{link.netloc}{link.path}" == "http://127.0.0.1:5173/reset-password"
    [token] = parse_qs(link.query)["token"]
    with pytest.raises(Refusal) as refused:
        await tab.reset_password_with_token(token, "short")
    assert refused.value.status == 400
    await tab.reset_password_with_token(token, NEW_PASSWORD)
    await lands_on_login(bob.view_applied_jobs(), bob)
    with pytest.raises(Refusal) as refused:
        await tab.reset_password_with_token(token, PASSWORD)
    assert refused.value.status == 400
    await tab.login_user("bob@example.com", NEW_PASSWORD)
    assert await tab.view_applied_jobs() == []


async def test_somebody_who_is_blocked_lands_on_login_at_once(people: People) -> None:
    bob, olga = people.bob, people.olga
    job, contract = await people.paid()
    (row,) = await olga.users("freelancer")
    assert (row.id, row.name, row.status) == (bob.id, "Bob", "Active")
    assert (await olga.block("freelancer", bob.id)).status == "Blocked"
    assert [user.status for user in await olga.users("freelancer")] == ["Blocked"]
    bob_id, token = bob.id, bob.token
    for call in (
        lambda: bob.update_work_status(contract, "Ongoing"),
        lambda: bob.apply_job(job),
        bob.view_applied_jobs,
        lambda: bob.get_contracts(bob_id),
        lambda: bob.get_wallet(bob_id),
    ):
        bob.browser.store(token)
        await lands_on_login(call(), bob)
    with pytest.raises(Refusal) as refused:
        await bob.login_user("bob@example.com", PASSWORD)
    assert refused.value.status == 403
    assert "blocked" in refused.value.text
    assert (await people.alice.contract_details(contract)).freelancer_id.name == "Bob"
    assert (await olga.unblock("freelancer", bob_id)).status == "Active"
    await bob.login_user("bob@example.com", PASSWORD)
    await bob.update_work_status(contract, "Ongoing")


async def test_whoever_signs_out_is_out(people: People) -> None:
    alice = people.alice
    before = copy_of(people.shop, alice)
    await alice.logout_user()
    await lands_on_login(alice.job_details(UNKNOWN_ID), alice)
    await lands_on_login(before.job_details(UNKNOWN_ID), before)
    with pytest.raises(Refusal) as refused:
        await alice.refresh_token()
    assert refused.value.status == 401


# -- across sites -------------------------------------------------------------------------------


class TlsProxy(httpx.AsyncBaseTransport):
    """What stands before the server in production: https outside, http inside."""

    def __init__(self, url: str) -> None:
        self._inside = httpx.URL(url)
        self._transport = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        where = self._inside
        inside = httpx.Request(
            request.method,
            request.url.copy_with(scheme="http", host=where.host, port=where.port),
            headers=request.headers,  # with the Host that was asked for
            stream=request.stream,
            extensions=request.extensions,
        )
        return await self._transport.handle_async_request(inside)

    async def aclose(self) -> None:
        await self._transport.aclose()


@pytest.fixture
async def production(database: TestDatabase) -> AsyncIterator[Storefront]:
    """The client at https://shop.example, the server at https://api.example."""
    async with open_storefront(
        database.app_dsn,
        env="production",
        public_url="https://api.example",
        client_url="https://shop.example",
        anonymous_reads=False,
    ) as made:
        yield made


async def test_it_stays_signed_in_across_sites(production: Storefront) -> None:
    """The only cookie that travels between sites is the one that the server set for it."""
    browser = Browser("https://api.example", "https://shop.example", TlsProxy(production.url))
    tab = await production.visit("Bob", Role.FREELANCER, browser)
    assert [cookie.name for cookie in browser.http.cookies.jar] == ["refreshToken"]
    assert await tab.get_client_contracts(tab.id) == []
    production.let_token_expire(tab)
    assert await tab.view_applied_jobs() == []
    assert tab.refreshes == 1
    user = tab.id
    await tab.logout_user()
    with pytest.raises(Refusal) as refused:
        await tab.get_client_contracts(user)
    assert refused.value.status == 401


async def test_without_https_it_needs_the_host_of_the_server(database: TestDatabase) -> None:
    """docs/web-client.md says so: browsers take a cookie from another host over https only, and
    `localhost` is not `127.0.0.1` to them."""
    page = "http://localhost:5173"
    async with open_storefront(database.app_dsn, client_url=page) as shop:
        lasting = Browser(shop.url.replace("127.0.0.1", "localhost"), page)
        for browser, refreshes in ((Browser(shop.url, page), False), (lasting, True)):
            name = "Alice" if refreshes else "Mallory"
            tab = await shop.visit(name, Role.CLIENT, browser)
            assert (await tab.client_profile(tab.id)).first_name == name
            shop.let_token_expire(tab)
            if refreshes:
                assert (await tab.client_profile(tab.id)).first_name == name
            else:
                await lands_on_login(tab.client_profile(tab.id), tab)


async def test_a_page_of_another_site_gets_nothing(production: Storefront) -> None:
    page = "https://evil.example"
    browser = Browser("https://api.example", page, TlsProxy(production.url))
    with pytest.raises(Unreadable):
        await production.visit("Bob", Role.FREELANCER, browser)
