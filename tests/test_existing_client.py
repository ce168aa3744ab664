"""The existing web client, unchanged: whole journeys through its own functions (spec section 5)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import TestDatabase
from earnest.domain.party import Role
from frontend import Refusal
from storefront import RATE, TITLE, People, Storefront, open_storefront
from web import PASSWORD

# Rounded to paise from the halves up (D7).
FEE, EARNING = 5000.0, 44999.99


# -- the whole way ----------------------------------------------------------------------------


async def test_it_signs_people_up_with_the_mailed_code(shop: Storefront) -> None:
    for role in ("client", "freelancer"):
        tab, email = shop.stranger(), f"Carol.{role}@example.com"
        form = {"name": "Carol", "email": email, "password": PASSWORD, "role": role}
        await tab.register_user(form)
        stale = (await shop.letter(email))["code"]
        await tab.resend_otp(email)
        code = (await shop.letter(email))["code"]
        stated = {**form, "confirmPassword": PASSWORD}
        for wrong in {stale, "000000"} - {code}:
            with pytest.raises(Refusal) as refused:
                await tab.verify_otp(email, wrong, stated)
            assert refused.value.status == 400
        tab.browser.store("what.was.left.behind")
        await tab.verify_otp(email, code, stated)
        assert tab.refreshes == 0
        found = await tab.login_user(email, PASSWORD)
        assert (found.role, found.user.name, found.user.email) == (role, "Carol", email)
        await tab.logout_user()
        with pytest.raises(Refusal) as refused:
            await tab.login_user(email, "Wrong$9pass")
        assert refused.value.status == 404


@pytest.mark.parametrize(
    ("is_browser", "anonymous_reads"), [(True, True), (True, False), (False, True), (False, False)]
)
async def test_it_goes_from_a_job_to_a_review(
    database: TestDatabase, is_browser: bool, anonymous_reads: bool
) -> None:
    """Whoever keeps strangers out need not change the client: its cookie says who reads (A18)."""
    async with open_storefront(database.app_dsn, anonymous_reads=anonymous_reads) as shop:
        shop.is_browser = is_browser
        people = await People.of(shop)
        alice, bob, olga = people.alice, people.bob, people.olga
        job = await people.job()
        await find_and_apply(people, job)
        contract = await hire(people, job)
        await approve_and_pay(people, job, contract)
        await work(people, contract)
        await pay_out(people, contract)
        await alice.review_freelancer(contract, bob.id, 5, "Three drafts, all good.")
        (review,) = await bob.get_freelancer_reviews(bob.id)
        assert (review.rating, review.client_id.name) == (5, "Alice")
        for tab in (alice, bob, olga):
            assert tab.refreshes == 0
            await tab.logout_user()


async def find_and_apply(people: People, job: str) -> None:
    alice, bob = people.alice, people.bob
    found = await bob.fetch_all_jobs(page=1, limit=4, search="BAKERY", filter="Beginner")
    assert ([each.id for each in found.jobs], found.total) == ([job], 1)
    details = await bob.job_details(job)
    assert (details.rate, details.status, details.client_id.name) == (RATE, "Open", "Alice")
    assert (details.category.name, details.skills[0].name) == ("Design", "Drawing")
    assert await bob.get_applicant_status(job, bob.id) is None
    await bob.apply_job(job)
    assert await bob.get_applicant_status(job, bob.id) is True
    assert await alice.get_applicant_status(job, alice.id) is None
    (applied,) = await bob.view_applied_jobs()
    assert (applied.job_id.title, applied.job_id.client_id.name) == (TITLE, "Alice")
    assert (await alice.job_details(job)).applicants == 1


async def hire(people: People, job: str) -> str:
    alice, bob = people.alice, people.bob
    assert await alice.is_contract_created(job, alice.id) is None
    (applicant,) = await alice.show_applicants(job, alice.id)
    assert (applicant.freelancer_id.first_name, applicant.freelancer_id.user_id) == ("Bob", bob.id)
    await alice.create_contract(job, applicant.freelancer_id.user_id, RATE)
    created = await alice.is_contract_created(job, alice.id)
    assert created is not None
    assert (created.freelancer_id, created.escrow_paid) == (bob.id, False)
    assert await bob.is_contract_created(job, bob.id) is None
    assert (await bob.job_details(job)).status == "Closed", "the button to apply is hidden"
    assert (await bob.fetch_all_jobs()).jobs == []
    return created.id


async def approve_and_pay(people: People, job: str, contract: str) -> None:
    alice, bob = people.alice, people.bob
    (row,) = await bob.get_contracts(bob.id)
    assert (row.id, row.is_approved, row.client_id.id) == (contract, False, alice.id)
    await bob.approve_contract(contract, bob.id)
    page = await alice.contract_details(contract)
    assert (page.is_approved, page.escrow_paid, page.steps) == (True, False, ["Started"])
    assert (page.client_id.email, page.freelancer_id.email) == (
        "alice@example.com",
        "bob@example.com",
    )
    session = await alice.pay_now(job, page.job_id.title, page.job_id.rate, page.freelancer_id.id)
    assert await alice.pay_now(job, "Else", 1, bob.id) == session
    await people.shop.pay(session)
    assert (await bob.contract_details(contract)).escrow_paid


async def work(people: People, contract: str) -> None:
    bob = people.bob
    for status in ("Ongoing", "Completed"):
        await bob.update_work_status(contract, status)
    page = await bob.contract_details(contract)
    assert (page.status, page.steps) == ("Completed", ["Started", "Ongoing", "Completed"])
    (done,) = await bob.get_completed_works(bob.id)
    assert (done.id, done.client_id.email) == (contract, "alice@example.com")


async def pay_out(people: People, contract: str) -> None:
    alice, bob, olga = people.alice, people.bob, people.olga
    assert await bob.get_wallet(bob.id) is None
    assert await bob.get_sales_report(bob.id) == []
    await alice.release_fund_request(contract)
    (row,) = await olga.fetch_all_contracts()
    assert (row.release_fund_status, row.escrow_paid, row.amount) == ("Requested", True, RATE)
    assert await olga.escrow_balance() == RATE
    await olga.release_fund(contract)
    assert (await alice.contract_details(contract)).release_fund_status == "Approved"
    assert (await olga.escrow_balance(), await olga.total_revenue()) == (0, FEE)
    (moved,) = await olga.escrow_transactions()
    assert (moved.amount, moved.status, moved.client_id.name) == (RATE, "released", "Alice")
    (sale,) = await olga.sales_report()
    assert (sale.freelancer_earning, sale.platform_fee) == (EARNING, FEE)
    wallet = await bob.get_wallet(bob.id)
    assert wallet is not None
    assert wallet.balance == EARNING
    (line,) = await bob.wallet_transactions(wallet.id)
    assert (line.description, line.type, line.amount) == ("Contract payment", "credit", EARNING)
    assert line.contract_id == (await bob.get_contracts(bob.id))[0].contract_id
    (month,) = await bob.get_sales_report(bob.id)
    assert month.total_revenue == EARNING


# -- other ways -------------------------------------------------------------------------------


async def test_it_takes_the_payment_before_the_contract(people: People) -> None:
    alice, bob = people.alice, people.bob
    job = await people.applied()
    await people.shop.pay(await alice.pay_now(job, TITLE, RATE, bob.id))
    created = await alice.is_contract_created(job, alice.id)
    assert created is not None
    assert created.escrow_paid
    await alice.create_contract(job, bob.id, RATE)
    (row,) = await alice.get_client_contracts(alice.id)
    assert (row.id, row.status, row.amount) == (created.id, "Pending", RATE)
    with pytest.raises(Refusal) as refused:
        await alice.create_contract(job, bob.id, RATE)
    assert refused.value.status == 400
    await bob.approve_contract(created.id, bob.id)
    await bob.update_work_status(created.id, "Ongoing")


async def test_it_lets_a_client_cancel_and_hire_again(people: People) -> None:
    alice, bob = people.alice, people.bob
    job, contract = await people.hired()
    await alice.delete_contract(contract)
    assert await alice.is_contract_created(job, alice.id) is None
    (row,) = await bob.get_contracts(bob.id)
    assert (row.status, row.is_deleted) == ("Canceled", False)
    page = await bob.contract_details(contract)
    assert (page.canceled_by, page.steps) == ("Client", ["Started", "Canceled"])
    assert (await alice.job_details(job)).status == "Open"
    await alice.create_contract(job, bob.id, RATE)
    assert len(await alice.get_client_contracts(alice.id)) == 2


async def test_it_keeps_the_money_of_a_canceled_contract_for_the_admin(people: People) -> None:
    bob, olga = people.bob, people.olga
    _, contract = await people.paid()
    await bob.update_work_status(contract, "Canceled")
    page = await bob.contract_details(contract)
    assert (page.canceled_by, page.escrow_paid) == ("Freelancer", True)
    assert await olga.escrow_balance() == RATE
    await olga.refund_to_client(contract, people.alice.id)
    assert await olga.escrow_balance() == 0


async def test_it_takes_a_refund_by_the_client_as_a_request(people: People) -> None:
    """The dialog of the client's page calls the admin's route, and expects a 200 (D6)."""
    alice, bob, olga = people.alice, people.bob, people.olga
    job, contract = await people.paid()
    await bob.update_work_status(contract, "Ongoing")
    await alice.refund_to_client(contract, alice.id, "Late", "Three weeks without a draft.")
    page = await alice.contract_details(contract)
    assert (page.status, page.canceled_by, page.cancel_reason) == ("Canceled", "Client", "Late")
    assert page.cancel_reason_description == "Three weeks without a draft."
    assert await alice.get_wallet(alice.id) is None, "only an admin moves money"
    assert await alice.is_contract_created(job, alice.id) is None
    await olga.refund_to_client(contract, alice.id)
    client, freelancer = await alice.get_wallet(alice.id), await bob.get_wallet(bob.id)
    assert client is not None
    assert freelancer is not None
    assert (client.balance, freelancer.balance) == (26999.99, 18000.0)
    (line,) = await alice.wallet_transactions(client.id)
    assert line.description == "Contract refund"
    (line,) = await bob.wallet_transactions(freelancer.id)
    assert line.description == "Partial payment for canceled contract"
    (moved,) = await olga.escrow_transactions()
    assert (moved.status, moved.amount, moved.platform_fee) == ("refunded", RATE, FEE)


async def test_a_payment_that_is_not_made_can_be_made_again(people: People) -> None:
    alice, bob = people.alice, people.bob
    job, contract = await people.hired()
    first = await alice.pay_now(job, TITLE, RATE, bob.id)
    await people.shop.pay(first, "expired")
    assert not (await alice.contract_details(contract)).escrow_paid
    again = await alice.pay_now(job, TITLE, RATE, bob.id)
    assert again != first
    await people.shop.pay(again)
    assert (await alice.contract_details(contract)).escrow_paid


# -- forms and lists --------------------------------------------------------------------------


async def test_a_job_can_be_edited_as_the_form_sends_it(people: People) -> None:
    alice = people.alice
    starts = (datetime.now(UTC) + timedelta(days=2)).date()
    ends = starts + timedelta(days=9)
    job = await people.job(startDate=starts.isoformat(), endDate="")
    before = await alice.job_details(job)
    assert (before.start_date or "").startswith(f"{starts}T00:00:00")
    form = {
        "title": "Logo for two bakeries",
        "description": before.description,
        "rate": 15000.5,
        "experienceLevel": "Expert",
        "status": before.status,
        "location": before.location,
        "category": before.category.id,
        "skills": [skill.id for skill in before.skills],
        "startDate": starts.isoformat(),
        "endDate": ends.isoformat(),
    }
    await alice.update_job(job, **form)
    after = await alice.job_details(job)
    assert (after.title, after.rate, after.experience_level) == (form["title"], 15000.5, "Expert")
    assert (after.end_date or "").startswith(ends.isoformat())
    await people.shop.advance(days=5)
    await alice.update_job(job, **form)  # the form is full of days that were to come
    await people.bob.apply_job(job)
    await alice.update_job(job, **{**form, "title": "Renamed", "rate": 1, "startDate": ""})
    settled = await alice.job_details(job)
    assert (settled.title, settled.rate, settled.start_date) == (
        "Renamed",
        15000.5,
        after.start_date,
    )
    (application,) = await people.bob.view_applied_jobs()
    await people.bob.cancel_application(application.id)
    await alice.update_job(job, **{**form, "status": "Closed"})
    assert (await alice.fetch_all_jobs()).total == 0


async def test_lists_of_jobs_answer_to_the_word_undefined(people: People) -> None:
    """Profile pages know neither page nor search, and say so."""
    alice = people.alice
    jobs = [await people.job(title=f"Job {number}", rate=100 + number) for number in range(6)]
    mine = await alice.fetch_my_jobs(alice.id)
    assert ([job.id for job in mine.jobs], mine.total) == (jobs[:1:-1], 6)
    second = await alice.fetch_my_jobs(alice.id, page=2, limit=4)
    assert [job.id for job in second.jobs] == jobs[1::-1]
    dear = await people.bob.fetch_all_jobs(page=1, limit=3, sort="budgetHigh", search="", filter="")
    assert [job.rate for job in dear.jobs] == [105, 104, 103]
    assert (await people.bob.fetch_all_jobs(search="no such job")).jobs == []


@pytest.mark.parametrize("several", ["categories", "skills"])
async def test_the_admin_keeps_categories_and_skills(shop: Storefront, several: str) -> None:
    olga = await shop.visit("Olga", Role.ADMIN)
    for name in ("Design", "Writing"):
        await olga.add_label(several, name)
    with pytest.raises(Refusal) as refused:
        await olga.add_label(several, "dESIGN")
    assert refused.value.status == 409
    by_name = {label.name: label for label in await olga.labels(several)}
    await olga.edit_label(several, by_name["Design"].id, "Drawing")
    await olga.unlist_label(several, by_name["Writing"].id)
    shown = {label.name: label.is_listed for label in await shop.stranger().labels(several)}
    assert shown == {"Drawing": True, "Writing": False}
    await olga.list_label(several, by_name["Writing"].id)
    assert all(label.is_listed for label in await olga.labels(several))


async def test_profiles_are_shown_and_saved(people: People) -> None:
    alice, bob = people.alice, people.bob
    assert (await bob.client_profile(alice.id)).first_name == "Alice"
    assert (await alice.client_profile(alice.id)).user_id.email == "alice@example.com"
    await alice.update_profile("client", alice.id, firstName="Alicia", userId=bob.id)
    assert (await bob.client_profile(alice.id)).first_name == "Alicia"
    empty = await alice.freelancer_profile(bob.id)
    assert (empty.first_name, empty.skills, empty.job_category) == ("Bob", [], None)
    skill = (await bob.labels("skills"))[0].id
    category = (await bob.labels("categories"))[0].id
    await bob.update_profile(
        "freelancer", bob.id, title="Painter", skills=[skill], jobCategory=category
    )
    found = await alice.freelancer_profile(bob.id)
    assert found.job_category is not None
    assert (found.title, found.skills[0].name, found.job_category.name) == (
        "Painter",
        "Drawing",
        "Design",
    )


async def test_a_profile_may_be_sent_back_as_it_was_read(people: People) -> None:
    """Forms are filled with the whole document; what only the server says is not read."""
    alice, bob = people.alice, people.bob
    labels = {several: await bob.labels(several) for several in ("skills", "categories")}
    await bob.update_profile(
        "freelancer",
        bob.id,
        skills=[labels["skills"][0].id],
        jobCategory=labels["categories"][0].id,
    )
    for tab, role in ((alice, "client"), (bob, "freelancer")):
        path = f"/api/{role}/profile/get-profile/{tab.id}"
        before = (await tab.ax("GET", path, dict[str, Any]))["data"]
        await tab.update_profile(role, tab.id, **before, email="mallory@example.com")
        after = (await tab.ax("GET", path, dict[str, Any]))["data"]
        assert before | {"updatedAt": after["updatedAt"]} == after
