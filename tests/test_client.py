"""The Python client against a real server: every call, typed answers, typed errors, pages."""

import inspect
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints
from urllib.parse import unquote
from uuid import uuid4

import anyio
import msgspec
import pytest
from anyio.to_thread import run_sync

import earnest_client
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
from earnest_client import webhooks as webhook_calls
from earnest_client.calls import Call
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


# -- nothing is missing, nothing drifts -------------------------------------------------------


GIVEN: dict[str, Any] = {
    "buyer": HUDA,
    "seller": OMAR,
    "seller_kyc": Kyc("1", "2", "3", date(1990, 2, 3)),
    "amount": 1,
    "milestones": HALVES,
    "metadata": Metadata(),
    "by": "buyer",
    "date_of_birth": date(1990, 2, 3),
    "since": DUE,
    "until": DUE,
    "milestone_id": 1,
}


def described(module: Any) -> Iterator[tuple[str, Call[Any]]]:
    """Every call that a module describes, by name, with everything that it takes."""
    for name, make in vars(module).items():
        if inspect.isfunction(make) and make.__module__ == module.__name__ and name[0] != "_":
            takes = set(inspect.signature(make).parameters) - {"idempotency_key"}
            yield name, make(**{one: GIVEN.get(one, f"{{{one}}}") for one in takes})


CALLS = {**dict(described(contracts)), **dict(described(webhook_calls))}


async def test_it_has_a_call_for_every_route_of_the_partner_api(counter: Counter) -> None:
    document = (await counter.http.get("/openapi.json")).json()
    wanted = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/apps/api") or path == "/.well-known/jwks.json"
    }
    anything = re.compile(r"\{[^}]*\}")
    assert {(call.method, anything.sub("{}", unquote(call.path))) for call in CALLS.values()} == {
        (method, anything.sub("{}", path)) for method, path in wanted
    }


def test_both_clients_have_every_call_and_the_same_iterators() -> None:
    both = [
        {name: inspect.signature(value) for name, value in vars(kind).items() if name[0] != "_"}
        for kind in (EarnestClient, AsyncEarnestClient)
    ]
    for names in both:
        assert set(CALLS) <= set(names)
        for name in ("close", "aclose", "send"):
            names.pop(name, None)
    assert both[0] == both[1]
    assert EarnestClient.get_proof.__doc__ == contracts.get_proof.__doc__


def test_whatever_changes_something_has_a_key_of_its_own() -> None:
    for name, call in CALLS.items():
        assert (call.key is not None) == (call.method in ("POST", "DELETE")), name
    assert len({call.key for call in CALLS.values() if call.key}) > 15
    key = str(uuid4())
    assert contracts.release("CNT-2601-00000001", idempotency_key=key).key == key


async def test_it_knows_all_that_the_server_answers_and_nothing_else(counter: Counter) -> None:
    document = (await counter.http.get("/openapi.json")).json()
    for name, call in CALLS.items():
        [answer] = [
            methods[call.method.lower()]["responses"]["200"]["content"]["application/json"]
            for path, methods in document["paths"].items()
            if re.sub(r"\{[^}]*\}", "{}", path) == re.sub(r"\{[^}]*\}", "{}", unquote(call.path))
        ]
        told = members(answer["schema"], document)
        kind = get_type_hints(getattr(contracts, name, None) or getattr(webhook_calls, name))
        ours = msgspec.json.schema(get_args(kind["return"])[0])
        told = told if call.is_public else told["data"]
        if name == "get_keys":  # of a key, what verifying takes
            assert set(members(ours, ours)["keys"]) < set(told["keys"])
        else:
            assert members(ours, ours) == told, name


ALIASES = {"start_checkout": {"contractId", "phoneNumber"}}
"""Second names of the guide's for what has a name already."""


async def test_it_can_send_all_that_the_server_takes_and_nothing_else(counter: Counter) -> None:
    document = (await counter.http.get("/openapi.json")).json()
    for name, call in CALLS.items():
        [operation] = [
            methods[call.method.lower()]
            for path, methods in document["paths"].items()
            if re.sub(r"\{[^}]*\}", "{}", path) == re.sub(r"\{[^}]*\}", "{}", unquote(call.path))
        ]
        asked = {one["name"] for one in operation["parameters"] if one["in"] == "query"}
        assert asked == set(call.query), name
        body = operation.get("requestBody", {"content": {"application/json": {"schema": {}}}})
        takes = members(body["content"]["application/json"]["schema"], document)
        for alias in ALIASES.get(name, ()):
            takes.pop(alias)
        if name == "create_contract":  # a party that is a text is sent as this
            for party in ("BuyerParty", "SellerParty"):
                takes[party].pop("platformRefId")
        assert sent(None if call.body is None else msgspec.json.decode(call.body)) == takes, name


def sent(value: Any) -> Any:
    """The names in what is sent, as `members` has them."""
    if isinstance(value, list):
        return sent(value[0])
    if isinstance(value, dict):
        return {name: sent(one) for name, one in value.items()}
    return None


def members(schema: Any, document: Any) -> Any:
    """The names in a schema, and the names in those; None for what has none."""
    if "$ref" in schema:
        found = document
        for step in schema["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return members(found, document)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            branches = [members(one, document) for one in schema[several]]
            return next((one for one in branches if one is not None), None)
    if "items" in schema:
        return members(schema["items"], document)
    if "properties" in schema:
        return {name: members(one, document) for name, one in schema["properties"].items()}
    return None


def test_it_is_one_version_and_knows_nothing_of_the_server() -> None:
    class Project(msgspec.Struct):
        version: str

    class PyProject(msgspec.Struct):
        project: Project

    root = Path(__file__).parent.parent / "clients" / "python"
    project = msgspec.toml.decode((root / "pyproject.toml").read_bytes(), type=PyProject).project
    assert project.version == earnest_client.__version__
    for path in (root / "src").rglob("*.py"):
        text = path.read_text()
        assert not re.search(r"^\s*(from|import) earnest\b", text, re.MULTILINE), path
        assert text.count("\n") <= 400
        assert text.startswith('"""')


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
