"""Stripe's own stripe-mock takes every request that we send: the names and types of its parameters
are in Stripe's published API description.

By itself it looks at the outermost names only, so it reads the description **closed**: what an
object in a request may hold is what is written there, and nothing else. It remembers nothing and
answers everything with the same few objects; what we make of answers is tested with
`stripe_double`. Without stripe-mock, these tests are skipped.
"""

import contextlib
import re
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from earnest.errors import ProviderError
from earnest.providers import stripe_line
from earnest.providers.stripe import StripeProvider
from earnest.providers.stripe_checkup import Unseen
from shop import BOB, a_payout, a_refund, a_return, a_transfer, provider_at
from stripe_calls import calls, misspelt
from town import NOON, a_request

ROOT = Path(__file__).parent.parent
INSTALLED = next(ROOT.glob(".venv/stripe-mock/v*"), None)
HUDA = msgspec.structs.replace(BOB, reference="party-huda", email="", name="", is_company=True)
KEY = "sk_test_nobody"
REPEATED = b'{"error": {"type": "idempotency_error", "message": "Another request had this key."}}'

pytestmark = pytest.mark.skipif(
    INSTALLED is None, reason="no stripe-mock: `sh .ci/stripe-mock` installs it, where there is Go"
)


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a stripe-mock; it listens on this machine only."""
    assert INSTALLED is not None
    description = msgspec.json.decode((INSTALLED / "spec3.json").read_bytes())
    for schema in asked_for(description):
        close(schema)
    spec = tmp_path_factory.mktemp("stripe") / "closed.json"
    spec.write_bytes(msgspec.json.encode(description))
    # An address without a port is one with a free port.
    listen = ["-http-addr", "127.0.0.1:", "-https-addr", "127.0.0.1:"]
    command = [str(INSTALLED / "stripe-mock"), "-spec", str(spec), *listen]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = iter(process.stdout.readline, "")
            told = (re.search(r"HTTP at address: (127\.0\.0\.1:\d+)$", line) for line in lines)
            address = next((found for found in told if found), None)
            assert address is not None, f"stripe-mock ended with {process.wait()}"
            # It tells of every request, and stops when nobody reads on.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield f"http://{address[1]}"
        finally:
            process.terminate()


def asked_for(description: Any) -> Iterator[Any]:
    """The schemas of all that a request may hold."""
    for path in description["paths"].values():
        for operation in path.values():
            yield from (each["schema"] for each in operation.get("parameters", ()))
            body = operation.get("requestBody", {"content": {}})
            yield from (each["schema"] for each in body["content"].values())


def close(schema: Any) -> None:
    """An object of named properties has no others."""
    for inner in (*schema.get("properties", {}).values(), *schema.get("anyOf", ())):
        close(inner)
    if "items" in schema:
        close(schema["items"])
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)


class Asked(msgspec.Struct, frozen=True):
    """A request, and what stripe-mock said to it."""

    method: str
    path: str
    form: str
    account: str
    status: int
    said: Any


class Witness(stripe_line.Line):
    """The line itself, seen from beside it. It tells two things that stripe-mock never does: that
    a list goes on after its first page, and that the first account's key was another request's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        body, status, told = await super().request_async(method, url, headers, post_data)
        parts = httpx.URL(url)
        form = post_data or parts.query.decode()
        said = msgspec.json.decode(body)
        account = headers.get("Stripe-Account", "")
        asked = Asked(method.upper(), parts.path, form, account, status, said)
        is_first = (asked.method, asked.path) not in {(one.method, one.path) for one in self.asked}
        self.asked.append(asked)
        if (asked.method, asked.path) == ("POST", "/v1/accounts") and is_first:
            return REPEATED, 400, told
        if said.get("object") == "list" and is_first:
            return msgspec.json.encode(said | {"has_more": True}), status, told
        return body, status, told


@pytest.fixture
async def witness(mock: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Witness]:
    """What every call of the provider's asked of stripe-mock."""
    monkeypatch.setattr(stripe_line, "Line", Witness)
    provider = provider_at(mock, api_key=KEY)
    assert isinstance(provider._line, Witness)
    try:
        await take_in(provider)
        await pay_out(provider)
        await read_books(provider)
        look = await provider.look()
        assert not any(isinstance(each, Unseen) for each in msgspec.structs.astuple(look)), look
        yield provider._line
    finally:
        await provider.close()


async def take_in(provider: StripeProvider) -> None:
    session, refund = "cs_test_1", a_refund("pi_1")
    for request in (a_request(), a_request(metadata={}, expires_in_seconds=1800)):
        with unfit():
            await provider.create_checkout(request)
    for work in (
        provider.find_checkout(session),
        provider.expire_checkout(session),
        provider.create_refund(refund),
        provider.find_refund(refund),
    ):
        with unfit():
            await work


async def pay_out(provider: StripeProvider) -> None:
    bob = await provider.create_account(BOB)
    await provider.create_account(HUDA)
    await provider.find_account(bob.id)
    urls = {"return_url": "https://shop.example/", "refresh_url": "https://shop.example/r"}
    await provider.create_onboarding_link(bob.id, **urls)
    transfer, payout = a_transfer(bob.id), a_payout(bob.id)
    for work in (
        provider.create_transfer(transfer),
        provider.find_transfer(transfer),
        # As much as every transfer of stripe-mock's: what is of another amount is not returned.
        provider.return_transfer(a_return("tr_1", amount_minor=1_100, currency="USD")),
        provider.create_payout(payout),
        provider.find_payout(payout),
    ):
        with unfit():
            await work


async def read_books(provider: StripeProvider) -> None:
    with unfit():
        await provider.find_dispute("du_1")
    with unfit():
        lines = provider.balance_transactions(NOON - timedelta(days=1), NOON)
        assert len([line async for line in lines]) == 2


def unfit() -> contextlib.AbstractContextManager[None]:
    """The object in the answer need not be what was asked for."""
    return contextlib.suppress(ProviderError)


async def test_it_sends_nothing_that_stripes_description_has_not(witness: Witness) -> None:
    refused = [one for one in witness.asked if one.status != 200]
    assert refused == []
    for call in calls():
        seen = [one for one in witness.asked if call.meets(one.method, one.path)]
        assert seen, f"{call} was never asked"
        assert all(bool(one.account) == call.path.startswith("/v1/payouts") for one in seen)
    lists = [one for one in witness.asked if one.said.get("object") == "list"]
    assert len({one.path for one in lists}) == 6
    second = [one for one in lists if "starting_after=" in one.form]
    assert {one.path for one in second} == {one.path for one in lists}


async def test_it_expands_what_there_is_to_expand(witness: Witness) -> None:
    """stripe-mock takes any name there and answers an object, or an id where it has none such."""
    (line, *_) = [one for one in witness.asked if one.path == "/v1/balance_transactions"]
    assert isinstance(line.said["data"][0]["source"], dict)
    (page, *_) = [one for one in witness.asked if one.path == "/v1/checkout/sessions/cs_test_1"]
    assert isinstance(page.said["payment_intent"], dict)


async def test_it_would_be_refused_for_each_parameter_that_is_misspelt(
    witness: Witness, mock: str
) -> None:
    headers = {
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    taken = []
    async with httpx.AsyncClient(base_url=mock, headers=headers, trust_env=False) as http:
        for one in witness.asked:
            for name, wrong in misspelt(one.form):
                if one.method == "GET":
                    answer = await http.get(f"{one.path}?{wrong}")
                else:
                    answer = await http.request(one.method, one.path, content=wrong)
                if answer.status_code != 400:
                    taken.append((one.path, name))
    assert taken == []
    assert sum(len(list(misspelt(one.form))) for one in witness.asked) > 50
