"""The existing web client, refused: after a 403 it would sign the person out, so no rule of
business is one (spec 1.1, D9); the text is what the screen shows, and nothing has changed."""

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest

from digest import digest
from earnest.actions.contracts import NotTheirContract
from earnest.domain.hiring import NotYourJob
from earnest.domain.party import Role
from earnest.domain.refusals import NotYourContract
from earnest.errors import Forbidden
from earnest.store.db import Pool
from earnest.web.origins import ForeignPage
from frontend import LoggedOut, Refusal
from routes import paths
from storefront import RATE, TITLE, People, Storefront
from web import PASSWORD, UNKNOWN_ID, Cast


async def refused(shop: Storefront, asked: Awaitable[object], status: int) -> str:
    """The text on the screen; nothing has changed, and the person is still signed in."""
    pool: Pool = shop.app.state.pool
    before = await digest(pool)
    with pytest.raises(Refusal) as found:
        await asked
    assert found.value.status == status, found.value
    assert await digest(pool) == before
    return found.value.text


async def test_before_anybody_is_hired(people: People) -> None:
    shop, alice, bob = people.shop, people.alice, people.bob
    job = await people.job()
    await refused(shop, alice.create_contract(job, bob.id, RATE), 400)
    await refused(shop, alice.pay_now(job, TITLE, RATE, bob.id), 400)
    await bob.apply_job(job)
    await refused(shop, bob.apply_job(job), 409)
    for amount in (0, 1, RATE + 0.01):
        await refused(shop, alice.create_contract(job, bob.id, amount), 400)
    for nobody in (UNKNOWN_ID, alice.id, "undefined"):
        await refused(shop, alice.create_contract(job, nobody, RATE), 400)
        await refused(shop, alice.pay_now(job, TITLE, RATE, nobody), 400)
    await refused(shop, bob.apply_job(UNKNOWN_ID), 404)
    await refused(shop, alice.job_details(UNKNOWN_ID), 404)
    await refused(shop, alice.job_details("undefined"), 400)
    await refused(shop, alice.show_applicants(UNKNOWN_ID, alice.id), 404)
    (application,) = await bob.view_applied_jobs()
    await bob.cancel_application(application.id)
    await refused(shop, bob.cancel_application(application.id), 404)
    await alice.update_job(job, status="Closed")
    await refused(shop, bob.apply_job(job), 400)


async def test_forms_of_jobs(people: People) -> None:
    shop, alice = people.shop, people.alice
    for name in ("title", "description", "location", "experienceLevel", "category"):
        text = await refused(shop, people.job(**{name: ""}), 409)
        assert text == "All fields are required"
    today = datetime.now(UTC).date()
    before, after = (str(today + timedelta(days=days)) for days in (-2, 2))
    for wrong in (
        {"rate": 0},
        {"rate": -1},
        {"rate": 1.005},
        {"startDate": before, "endDate": ""},
        {"startDate": after, "endDate": before},
        {"category": UNKNOWN_ID},
        {"skills": ["undefined"]},
    ):
        await refused(shop, people.job(**wrong), 400)
    job = await people.job()
    await refused(shop, alice.update_job(job, rate=-1), 400)
    await refused(shop, alice.update_job(UNKNOWN_ID, title="x"), 404)


async def test_while_work_goes_on(people: People) -> None:
    shop, alice, bob, olga = people.shop, people.alice, people.bob, people.olga
    job, contract = await people.hired()
    await refused(shop, alice.create_contract(job, bob.id, RATE), 400)
    await refused(shop, bob.approve_contract(contract, bob.id), 400)
    await refused(shop, bob.update_work_status(contract, "Ongoing"), 400)
    await refused(shop, alice.refund_to_client(contract, alice.id, "Late", "Too late"), 404)
    await refused(shop, olga.release_fund(contract), 404)
    await shop.pay(await alice.pay_now(job, TITLE, RATE, bob.id))
    await refused(shop, alice.pay_now(job, TITLE, RATE, bob.id), 400)
    # The drop-down offers every status, whatever the contract's own.
    for status in ("Pending", "Started", "Completed", "Approved"):
        await refused(shop, bob.update_work_status(contract, status), 400)
    await bob.update_work_status(contract, "Ongoing")
    await refused(shop, alice.release_fund_request(contract), 400)
    await refused(shop, alice.review_freelancer(contract, bob.id, 5, "Good"), 400)
    await refused(shop, olga.release_fund(contract), 400)
    for unknown in (UNKNOWN_ID, "f" * 24):
        await refused(shop, alice.contract_details(unknown), 404)
        await refused(shop, alice.release_fund_request(unknown), 404)
        await refused(shop, alice.delete_contract(unknown), 404)
        await refused(shop, bob.update_work_status(unknown, "Ongoing"), 404)
        await refused(shop, bob.approve_contract(unknown, bob.id), 404)
        await refused(shop, olga.release_fund(unknown), 404)


async def test_when_work_is_done(people: People) -> None:
    shop, alice, bob, olga = people.shop, people.alice, people.bob, people.olga
    _, contract = await people.paid()
    for status in ("Ongoing", "Completed"):
        await bob.update_work_status(contract, status)
    await refused(shop, bob.update_work_status(contract, "Canceled"), 400)
    await refused(shop, alice.delete_contract(contract), 400)
    await refused(shop, alice.refund_to_client(contract, alice.id), 400)
    await refused(shop, olga.refund_to_client(contract, alice.id), 400)
    await refused(shop, olga.release_fund(contract), 400)
    await alice.release_fund_request(contract)
    await refused(shop, alice.release_fund_request(contract), 400)
    await olga.release_fund(contract)
    await refused(shop, olga.release_fund(contract), 400)
    await refused(shop, alice.release_fund_request(contract), 400)
    await refused(shop, alice.refund_to_client(contract, alice.id), 400)
    await refused(shop, alice.review_freelancer(contract, bob.id, 6, "Good"), 400)
    await refused(shop, alice.review_freelancer(contract, bob.id, 5, ""), 400)
    await alice.review_freelancer(contract, bob.id, 5, "Good")
    await refused(shop, alice.review_freelancer(contract, bob.id, 5, "Good"), 400)


async def test_when_it_was_canceled(people: People) -> None:
    shop, alice, bob, olga = people.shop, people.alice, people.bob, people.olga
    job, unpaid = await people.hired()
    await alice.delete_contract(unpaid)
    await refused(shop, alice.delete_contract(unpaid), 400)
    await refused(shop, alice.pay_now(job, TITLE, RATE, bob.id), 400)
    await refused(shop, bob.approve_contract(unpaid, bob.id), 400)
    await refused(shop, bob.update_work_status(unpaid, "Ongoing"), 400)
    await refused(shop, alice.release_fund_request(unpaid), 400)
    await refused(shop, olga.refund_to_client(unpaid, alice.id), 400)
    _, contract = await people.paid()
    await alice.refund_to_client(contract, alice.id, "Late", "Too late")
    await refused(shop, alice.refund_to_client(contract, alice.id), 400)
    await refused(shop, olga.release_fund(contract), 400)
    await olga.refund_to_client(contract, alice.id)
    await refused(shop, olga.refund_to_client(contract, alice.id), 400)
    await refused(shop, alice.refund_to_client(contract, alice.id), 400)


async def test_while_another_freelancer_is_being_paid(people: People) -> None:
    shop, alice, bob = people.shop, people.alice, people.bob
    mallet = await shop.visit("Mallet", Role.FREELANCER)
    job = await people.applied()
    await mallet.apply_job(job)
    await alice.pay_now(job, TITLE, RATE, bob.id)
    await refused(shop, alice.pay_now(job, TITLE, RATE, mallet.id), 409)
    await alice.create_contract(job, bob.id, RATE)
    await refused(shop, alice.pay_now(job, TITLE, RATE, mallet.id), 400)
    await refused(shop, alice.create_contract(job, mallet.id, RATE), 400)
    await refused(shop, alice.update_job(job, status="Gone"), 400)


async def test_in_the_admins_office(people: People) -> None:
    shop, olga = people.shop, people.olga
    for several in ("categories", "skills"):
        await refused(shop, olga.add_label(several, ""), 400)
        await refused(shop, olga.edit_label(several, UNKNOWN_ID, "Other"), 404)
        await refused(shop, olga.unlist_label(several, UNKNOWN_ID), 404)
        await refused(shop, olga.list_label(several, "undefined"), 400)
        (label,) = await olga.labels(several)
        await refused(shop, olga.add_label(several, label.name.upper()), 409)
    await refused(shop, olga.block("client", people.bob.id), 404)
    await refused(shop, olga.unblock("freelancer", UNKNOWN_ID), 404)
    await refused(shop, olga.get_wallet(UNKNOWN_ID), 404)


async def test_at_the_door(people: People) -> None:
    shop, tab = people.shop, people.shop.stranger()
    form = {"name": "Carol", "email": "carol@example.com", "password": PASSWORD, "role": "client"}
    for wrong in ({"email": "carol"}, {"password": "short"}, {"name": " "}, {"role": ""}):
        await refused(shop, tab.register_user(form | wrong), 400)
    await refused(shop, tab.verify_otp("carol@example.com", "123456", form), 400)
    for email in ("nobody@example.com", "bob@example.com"):
        await refused(shop, tab.login_user(email, "Wrong$9pass"), 404)
        await refused(shop, tab.request_password_reset(email, "Wrong$9pass", PASSWORD), 404)
    await refused(shop, tab.reset_password_with_token("0" * 64, PASSWORD), 400)
    for _ in range(3):
        await refused(shop, tab.login_user("bob@example.com", "Wrong$9pass"), 404)
    await refused(shop, tab.login_user("bob@example.com", "Wrong$9pass"), 429)


# -- what a 403 is for ------------------------------------------------------------------------

OWNERSHIP = {Forbidden, NotYourContract, NotTheirContract, NotYourJob, ForeignPage}


async def test_only_roles_ownership_and_blocks_are_a_403(cast: Cast) -> None:
    handlers = chain.from_iterable(path.route_handlers for path in paths(cast))
    declared = chain.from_iterable(handler.opt.get("refuses", ()) for handler in handlers)
    assert {one for one in declared if one.status == 403} == OWNERSHIP


async def test_it_lands_on_login_where_it_has_no_business(people: People) -> None:
    shop, alice, bob = people.shop, people.alice, people.bob
    job, contract = await people.paid()
    mallory = await shop.visit("Mallory", Role.CLIENT)
    mallet = await shop.visit("Mallet", Role.FREELANCER)
    token = {id(tab): tab.token for tab in (mallory, mallet)}
    user = {id(tab): tab.user for tab in (mallory, mallet)}
    before = await digest(shop.app.state.pool)
    for tab, asked in (
        (mallory, mallory.delete_contract(contract)),
        (mallory, mallory.release_fund_request(contract)),
        (mallory, mallory.refund_to_client(contract, alice.id)),
        (mallory, mallory.pay_now(job, TITLE, RATE, bob.id)),
        (mallory, mallory.create_contract(job, bob.id, RATE)),
        (mallory, mallory.update_job(job, title="Mine")),
        (mallory, mallory.release_fund(contract)),
        (mallory, mallory.get_wallet(alice.id)),
        (mallet, mallet.approve_contract(contract, bob.id)),
        (mallet, mallet.update_work_status(contract, "Ongoing")),
        (mallet, mallet.delete_contract(contract)),
        (mallet, mallet.get_wallet(bob.id)),
    ):
        tab.browser.store(token[id(tab)])
        tab.user = user[id(tab)]
        with pytest.raises(LoggedOut, match="403"):
            await asked
    assert await digest(shop.app.state.pool) == before
