"""The Python client against a real server: every call, typed answers, typed errors, pages."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

import anyio
import msgspec
import pytest
from anyio.to_thread import run_sync

from conftest import TestDatabase
from counter import Counter
from earnest_client import (
    AsyncEarnestClient,
    EarnestClient,
    InvalidTrail,
    KeyReused,
    Kyc,
    Metadata,
    NewMilestone,
    NotAllowed,
    NotFound,
    Person,
    Unauthenticated,
    ValidationFailed,
    contracts,
    documents,
    verify_events,
)
from partners import make_broker

HUDA = Person("966500000001", "Huda", "S")
OMAR = Person("966500000002", "Omar")
DUE = datetime(2036, 6, 1, tzinfo=UTC)
HALVES = (NewMilestone("Draft", 600, DUE), NewMilestone("Final", Decimal("400.00"), DUE, "Files"))
TERMS: dict[str, Any] = {
    "title": "A logo",
    "service_type": "service",
    "buyer": HUDA,
    "seller": OMAR,
    "amount": 1000,
}

Result = TypeVar("Result")


async def threaded(counter: Counter, act: Callable[[EarnestClient], Result]) -> Result:
    """What `act` does with a client for threads, in one."""

    def work() -> Result:
        with EarnestClient(counter.url, counter.broker.client_id, counter.broker.secret) as escrow:
            return act(escrow)

    return await run_sync(work)


@pytest.fixture
async def escrow(counter: Counter) -> Any:
    """Demo Broker's client, for event loops."""
    async with AsyncEarnestClient(
        counter.url, counter.broker.client_id, counter.broker.secret
    ) as client:
        yield client


async def pay(counter: Counter, token: str) -> None:
    """Huda pays."""
    paid = await counter.http.post(f"/sandbox/checkout/{token}/complete", json={"outcome": "paid"})
    assert paid.status_code == 200, paid.text


# -- from the contract to the money -----------------------------------------------------------


async def test_it_takes_a_contract_from_beginning_to_end_in_threads(counter: Counter) -> None:
    def begin(escrow: EarnestClient) -> documents.ContractMade:
        return escrow.create_contract(
            **TERMS,
            milestones=HALVES,
            reference="order-1",
            metadata=Metadata(metadata1="عقد"),
        )

    made = await threaded(counter, begin)
    assert [one.amount for one in made.milestones] == [Decimal("686.25"), Decimal("457.5")]
    assert made.milestones[0].due_date == DUE
    assert made.meta_data == Metadata(metadata1="عقد")
    assert made.checkout.expires_at > datetime.now(UTC)
    assert made.created_date.tzinfo is not None
    await pay(counter, made.checkout.token)

    def finish(escrow: EarnestClient) -> None:
        number, (draft, final) = made.contract_id, made.milestones
        assert escrow.approve(number, reason="Agreed").status == "escrow"
        assert escrow.deliver(number).status == "escrow"
        assert escrow.receive(number).status == "escrow"
        assert escrow.release(number, milestone_id=draft.id).amount == 600
        begun = escrow.refund(number, reason="Late", amount=Decimal("99.99"), milestone_id=final.id)
        assert (begun.type, begun.refunded_amount) == ("PartialRefund", Decimal("99.99"))
        proof = escrow.get_proof(number)
        assert proof.holds
        assert proof.funded == Decimal("1143.75")
        shown = escrow.get_contract(number)
        assert shown.amount == 1000
        assert shown.settlement.released_to_seller == 600
        assert shown.transactions[0].amount == Decimal("686.25")
        types = [event.type for event in escrow.each_event(number)]
        assert types[:3] == ["contract.created", "payment.completed", "contract.approved"]
        events = escrow.list_events(number).events
        assert types == [event.type for event in events]
        assert verify_events(escrow.each_event(number, page_size=2)) == events[-1]
        assert verify_events(events[2:], after=events[1]) == events[-1]
        refuses_other_pasts(events)
        [listed] = escrow.each_contract(status=shown.status)
        assert listed.contract_id == number

    await threaded(counter, finish)


def refuses_other_pasts(events: list[documents.TrailEvent]) -> None:
    first, second, *rest = events
    replace = msgspec.structs.replace
    for past in (
        [second, *rest],
        [first, *rest],
        [first, first, *rest],
        [replace(first, body=first.body.replace("pending", "escrow")), second],
        [replace(first, actor="admin:1"), second],
        [replace(first, recorded_date=first.recorded_date + timedelta(microseconds=1))],
        [first, replace(second, previous_hash=second.hash)],
        [replace(first, previous_hash="x")],
        [first, replace(second, hash=first.hash)],
    ):
        with pytest.raises(InvalidTrail):
            verify_events(past)
    assert verify_events([]) is None


async def test_it_does_the_same_in_an_event_loop(
    counter: Counter, escrow: AsyncEarnestClient
) -> None:
    made = await escrow.create_contract(**TERMS | {"amount": Decimal("0.5")})
    again = await escrow.start_checkout(made.contract_id, buyer_phone_number=HUDA.phone_number)
    await pay(counter, again.checkout.token)
    assert (await escrow.dispute(made.contract_id, by="buyer", reason="Late")).status == "dispute"
    assert (await escrow.resolve_dispute(made.contract_id)).status == "escrow"
    assert (await escrow.release(made.contract_id)).amount == Decimal("0.5")
    assert (await escrow.get_contract(made.contract_id)).status == "released"
    rejected = await escrow.create_contract(**TERMS)
    assert (await escrow.reject(rejected.contract_id)).status == "rejected"
    cancelled = await escrow.create_contract(**TERMS | {"buyer": made.buyer_party.platform_ref_id})
    assert (await escrow.cancel(cancelled.contract_id, by="seller")).status == "cancelled"
    assert cancelled.buyer_party == made.buyer_party


async def test_it_pays_out(counter: Counter, escrow: AsyncEarnestClient) -> None:
    made = await escrow.create_contract(**TERMS)
    await pay(counter, made.checkout.token)
    await escrow.release(made.contract_id)
    omar = made.seller_party.platform_ref_id
    page = await escrow.start_payout_onboarding("https://shop.example/paid", platform_ref_id=omar)
    assert page.url.startswith(counter.url)
    assert page.expires_at > datetime.now(UTC)
    his = await escrow.pay_out(Decimal("999.99"), platform_ref_id=omar, idempotency_key="pay-1")
    again = await escrow.pay_out(Decimal("999.99"), platform_ref_id=omar, idempotency_key="pay-1")
    assert (his.status, his.amount, his.platform_ref_id) == ("pending", Decimal("999.99"), omar)
    assert again == his
    ours = await escrow.pay_out(115)
    assert ours.platform_ref_id is None
    assert await escrow.get_payout(his.id) == his
    assert [one.id async for one in escrow.each_payout(page_size=1)] == [ours.id, his.id]
    assert (await escrow.list_payouts(platform_ref_id=omar)).entries == [his]
    with pytest.raises(NotAllowed, match="does not hold that much"):
        await escrow.pay_out(1)


async def test_it_introduces_users(escrow: AsyncEarnestClient) -> None:
    user = await escrow.create_user(phone_number="966500000009", first_name="Layla")
    assert user.kyc.url == user.kyc_url
    onboarding = await escrow.get_onboarding("966500000009")
    assert onboarding.platform_ref_id == user.platform_ref_id
    assert not onboarding.kyc_completed
    born = date(1990, 2, 3)
    known = await escrow.create_user(
        phone_number="966500000009",
        first_name="L",
        national_id="1000000008",
        iban="SA0380000000608010167519",
        bic="RJHISARI",
        date_of_birth=born,
    )
    assert known.platform_ref_id == user.platform_ref_id
    kyc = Kyc("1000000008", "SA0380000000608010167519", "RJHISARI", born)
    await escrow.create_contract(**TERMS, seller_kyc=kyc)
    with pytest.raises(ValidationFailed) as wrong:
        await escrow.create_contract(**TERMS, seller_kyc=Kyc(iban_number="SA00"))
    assert [one.field for one in wrong.value.errors] == ["SellerParty.KYC.iBANNumber"]
    with pytest.raises(ValidationFailed) as refused:
        await escrow.create_user(phone_number="1", first_name="Layla", iban="SA00")
    assert [one.field for one in refused.value.errors] == ["phoneNumber"]


async def test_it_looks_after_the_webhook(counter: Counter, escrow: AsyncEarnestClient) -> None:
    with pytest.raises(NotFound):
        await escrow.get_webhook()
    url = "https://broker.example/hook"
    webhook = await escrow.save_webhook(url)
    shown = await escrow.get_webhook()
    assert (webhook.id, webhook.webhook_url, shown.is_active) == (shown.id, url, True)
    assert shown.secret_key != webhook.secret_key
    assert (await escrow.regenerate_webhook_secret()).secret_key != webhook.secret_key
    queued = await escrow.send_test_webhook()
    made = await escrow.create_contract(**TERMS)
    both = [one async for one in escrow.each_delivery(status="pending", page_size=1)]
    assert {one.id for one in both} >= {queued.webhook_id}
    [created] = (await escrow.list_deliveries(contract_id=made.contract_id)).deliveries
    assert (created.event, created.attempts) == ("contract.created", 0)
    assert (await escrow.replay_delivery(created.id)).id == created.id
    since = datetime.now(UTC) - timedelta(hours=1)
    replayed = await escrow.replay_events(event="contract.created", since=since)
    assert replayed.replayed == 1
    assert (await escrow.list_attempts()).logs == []
    assert await escrow.delete_webhook() is True
    with pytest.raises(NotFound):
        await threaded(counter, lambda client: client.send_test_webhook())


async def test_it_goes_through_all_pages_though_new_contracts_push_old_ones_down(
    counter: Counter, escrow: AsyncEarnestClient
) -> None:
    numbers = [(await escrow.create_contract(**TERMS)).contract_id for _ in range(5)]
    found = []
    async for one in escrow.each_contract(page_size=2):
        found.append(one.contract_id)
        if len(found) == 2:
            await escrow.create_contract(**TERMS)
    assert found == numbers[::-1]

    def in_a_thread(client: EarnestClient) -> list[str]:
        return [one.contract_id for one in client.each_contract(page_size=3)]

    assert (await threaded(counter, in_a_thread))[1:] == found


# -- refusals ---------------------------------------------------------------------------------


async def test_it_names_the_fields_that_are_not_valid(escrow: AsyncEarnestClient) -> None:
    with pytest.raises(ValidationFailed) as refused:
        await escrow.create_contract(**TERMS | {"amount": Decimal("0.001")})
    [(field, message)] = refused.value.errors
    assert field == "amount"
    assert message in str(refused.value)
    assert refused.value.status == 400
    assert refused.value.request_id


async def test_its_errors_tell_what_to_do(counter: Counter, escrow: AsyncEarnestClient) -> None:
    made = await escrow.create_contract(**TERMS, idempotency_key="one")
    with pytest.raises(NotAllowed):
        await escrow.release(made.contract_id)
    with pytest.raises(KeyReused):
        await escrow.create_contract(**TERMS | {"amount": 2}, idempotency_key="one")
    with pytest.raises(NotFound):
        await escrow.get_contract("CNT-2601-00000001")
    for other in ("../../api/admin/businesses?page=1", "..", "CNT-2601-00000001/proof?"):
        with pytest.raises(NotFound):
            await escrow.get_contract(other)
    with pytest.raises(ValidationFailed):
        await escrow.get_contract("")
    async with AsyncEarnestClient(counter.url, counter.broker.client_id, "wrong") as stranger:
        with pytest.raises(Unauthenticated, match="client_secret"):
            await stranger.list_contracts()


async def test_it_keeps_others_contracts_apart(counter: Counter) -> None:
    rival = await make_broker(counter.app, "Rival Broker")
    made = await threaded(counter, lambda client: client.create_contract(**TERMS))
    async with AsyncEarnestClient(counter.url, rival.client_id, rival.secret) as escrow:
        with pytest.raises(NotFound):
            await escrow.get_contract(made.contract_id)
        assert (await escrow.list_contracts()).contracts == []
    await rival.client.aclose()


@pytest.mark.parametrize("amount", [0.1, 1.0, "1", True, None])
def test_it_takes_no_float_for_an_amount(amount: Any) -> None:
    with pytest.raises(TypeError, match="amount must be a Decimal or an int"):
        contracts.create_contract(**TERMS | {"amount": amount})


def test_it_takes_no_time_without_a_zone_and_no_amount_that_is_no_number() -> None:
    naive = NewMilestone("Draft", 1, datetime(2036, 6, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match=r"milestones\[0\].due_date must have a time zone"):
        contracts.create_contract(**TERMS, milestones=[naive])
    with pytest.raises(ValueError, match="must be a number"):
        contracts.refund("CNT-2601-00000001", reason="x", amount=Decimal("NaN"))


@pytest.mark.parametrize("url", ["", "escrow.example", "ftp://escrow.example", "https://"])
def test_it_needs_to_know_where_the_server_is(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        EarnestClient(url, "id", "secret")


async def test_it_may_be_used_by_many_tasks_at_once(escrow: AsyncEarnestClient) -> None:
    made: list[str] = []

    async def create() -> None:
        made.append((await escrow.create_contract(**TERMS)).contract_id)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(create)
    assert len(set(made)) == 8
    assert {one.contract_id async for one in escrow.each_contract()} == set(made)


def test_it_can_be_made_before_there_is_an_event_loop(database: TestDatabase) -> None:
    client = AsyncEarnestClient("http://127.0.0.1:9", "id", "secret")
    anyio.run(client.aclose)
