"""What the client believes: webhooks and returns that the server signed, and nothing else.

The signatures are the server's own: of its deliveries, of their code, and of its checkout.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from conftest import TestDatabase
from counter import CALLBACK, Counter
from earnest.partner.webhooks import new_secret
from earnest.settings import Settings
from earnest.worker.webhook_body import json_bytes, standard_signature, wepay_signature
from earnest_client import (
    AsyncEarnestClient,
    CheckoutResult,
    InvalidReturn,
    InvalidWebhook,
    signed,
    verify_return,
    verify_webhook,
)
from earnest_client.documents import JwkSet
from hooked import hooked, webhook_settings
from partners import Broker, make_broker
from receiver import answering

SECRET, OTHER = new_secret(), new_secret()
ID = "0190b9d4-6ad5-7b60-8f6c-000000000001"
DATA: dict[str, Any] = {
    "contractId": "CNT-2601-00100002",
    "reference": "طلب",
    "status": "WaitingForBankPayment",
    "previousStatus": "Pending",
    "amount": Decimal("686.5"),
    "currency": "SAR",
    "paymentId": "PAY-1",
    "timestamp": "2026-05-01T09:00:00.123Z",
    "metadata": {"metadata1": "عقد", "reference": None, "milestoneId": "41"},
}


def body_of(event: str = "payment.completed", data: Any = None) -> bytes:
    told = {"id": ID, "event": event, "createdAt": "2026-05-01T09:00:00.123Z"}
    return json_bytes(told | {"data": DATA if data is None else data})


def headers_of(body: bytes, *secrets: str, age_seconds: float = 0) -> dict[str, str]:
    """As the worker makes them."""
    at = str(int(time.time() - age_seconds))
    signatures = [standard_signature(ID, at, body, secret) for secret in secrets or (SECRET,)]
    return {
        "Content-Type": "application/json",
        "Webhook-Id": ID,
        "webhook-timestamp": at,
        "WEBHOOK-SIGNATURE": " ".join(signatures),
    }


# -- webhooks ---------------------------------------------------------------------------------


class TestDelivered:
    """What the server's own worker delivers."""

    @pytest.fixture
    def settings(self, database: TestDatabase) -> Settings:
        return webhook_settings(database)

    async def test_it_believes_what_the_server_delivers(self, broker: Broker) -> None:
        async with hooked(broker, answering(200)) as hook:
            number = await hook.contract(reference="ord-88", metaData={"metadata1": "عقد"})
            await hook.approve(number)
            await hook.test()
            await hook.deliver()
            for accept_wepay in (False, True):
                created, approved, test = sorted(
                    (
                        verify_webhook(
                            request.body, request.headers, hook.secret, accept_wepay=accept_wepay
                        )
                        for request in hook.heard
                    ),
                    key=lambda event: event.created_at,
                )
                assert (created.type, test.type) == ("contract.created", "webhook.test")
                assert test.contract is None
                assert approved.contract is not None
                assert approved.contract.contract_id == number
                assert approved.contract.previous_status == "pending"
                assert approved.contract.status == "approved"
                assert approved.contract.amount == 1000
                assert approved.contract.reference == "ord-88"
                assert approved.contract.metadata["metadata1"] == "عقد"
                assert approved.contract.payment_id is None
            for request in hook.heard:
                with pytest.raises(InvalidWebhook):
                    verify_webhook(request.body, request.headers, OTHER, accept_wepay=True)


def test_it_makes_an_event_of_a_webhook() -> None:
    body = body_of()
    event = verify_webhook(body, headers_of(body), SECRET)
    assert (event.id, event.type) == (ID, "payment.completed")
    assert event.created_at == datetime(2026, 5, 1, 9, 0, 0, 123_000, UTC)
    assert event.contract is not None
    assert event.contract.amount == Decimal("686.5")
    assert event.contract.status == "waitingForBankPayment"
    assert (event.contract.payment_id, event.contract.invoice_id) == ("PAY-1", None)
    assert event.contract.metadata["milestoneId"] == "41"


def test_it_passes_over_what_later_servers_add() -> None:
    body = body_of("contract.renamed", DATA | {"colour": "green", "metadata": {"metadata9": ""}})
    assert verify_webhook(body, headers_of(body), SECRET).type == "contract.renamed"
    body = body_of("business.renamed", {"name": "x"})
    assert verify_webhook(body, headers_of(body), SECRET).contract is None


@pytest.mark.parametrize("secrets", [(SECRET, OTHER), (OTHER, SECRET)])
def test_one_good_signature_of_several_is_enough(secrets: tuple[str, str]) -> None:
    body = body_of()
    assert verify_webhook(body, headers_of(body, *secrets), SECRET).id == ID


def test_it_believes_no_other_secret() -> None:
    body = body_of()
    with pytest.raises(InvalidWebhook, match="No signature fits"):
        verify_webhook(body, headers_of(body, OTHER), SECRET)


@pytest.mark.parametrize(
    "alter",
    [
        lambda body, headers: (body + b" ", headers),
        lambda body, headers: (body.replace(b"686.5", b"986.5"), headers),
        lambda body, headers: (json.dumps(json.loads(body)).encode(), headers),
        lambda body, headers: (body, headers | {"Webhook-Id": ID[:-1] + "2"}),
        lambda body, headers: (
            body,
            headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)},
        ),
        lambda body, headers: (
            body,
            headers | {"WEBHOOK-SIGNATURE": headers["WEBHOOK-SIGNATURE"][:-2]},
        ),
        lambda body, headers: (
            body,
            headers | {"WEBHOOK-SIGNATURE": headers["WEBHOOK-SIGNATURE"].replace("v1,", "v2,")},
        ),
        lambda body, headers: (body, headers | {"WEBHOOK-SIGNATURE": ""}),
        lambda body, headers: (body, headers | {"WEBHOOK-SIGNATURE": "v1,é\udcff"}),
    ],
)
def test_it_believes_nothing_that_was_altered(
    alter: Callable[[bytes, dict[str, str]], tuple[bytes, dict[str, str]]],
) -> None:
    body = body_of()
    with pytest.raises(InvalidWebhook):
        verify_webhook(*alter(body, headers_of(body)), SECRET)


@pytest.mark.parametrize("age_seconds", [310, -310, 10**9])
def test_it_believes_nothing_old_and_nothing_from_the_future(age_seconds: int) -> None:
    body = body_of()
    headers = headers_of(body, age_seconds=age_seconds)
    with pytest.raises(InvalidWebhook, match="old" if age_seconds > 0 else "early"):
        verify_webhook(body, headers, SECRET)
    assert verify_webhook(body, headers, SECRET, tolerance_seconds=2 * 10**9).id == ID


@pytest.mark.parametrize("at", ["", "now", "1e9", "-5", "٣", "9" * 400])
def test_it_believes_no_time_that_is_none(at: str) -> None:
    body = body_of()
    headers = headers_of(body) | {"webhook-timestamp": at}
    headers["WEBHOOK-SIGNATURE"] = standard_signature(ID, at, body, SECRET)
    with pytest.raises(InvalidWebhook, match="not a time"):
        verify_webhook(body, headers, SECRET)


@pytest.mark.parametrize("name", ["Webhook-Id", "webhook-timestamp", "WEBHOOK-SIGNATURE"])
def test_it_needs_every_header(name: str) -> None:
    body = body_of()
    headers = headers_of(body)
    del headers[name]
    with pytest.raises(InvalidWebhook, match=f"{name.lower()} is missing"):
        verify_webhook(body, headers, SECRET)


def test_it_takes_the_guides_signature_only_when_asked_to() -> None:
    body = body_of()
    headers = {"x-wepay-signature": wepay_signature(body, SECRET)}
    with pytest.raises(InvalidWebhook, match="is missing"):
        verify_webhook(body, headers, SECRET)
    assert verify_webhook(body, headers, SECRET, accept_wepay=True).id == ID
    for wrong in (wepay_signature(body, OTHER), headers["x-wepay-signature"].upper(), "", "é"):
        with pytest.raises(InvalidWebhook):
            verify_webhook(body, {"X-WePay-Signature": wrong}, SECRET, accept_wepay=True)


def test_a_wrong_signature_is_not_made_good_by_the_other_one() -> None:
    body = body_of()
    headers = headers_of(body, OTHER) | {"X-WePay-Signature": wepay_signature(body, SECRET)}
    with pytest.raises(InvalidWebhook):
        verify_webhook(body, headers, SECRET, accept_wepay=True)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_***", "whsec_********wxyz"])
def test_it_says_that_a_masked_secret_is_none(secret: str) -> None:
    body = body_of()
    with pytest.raises(ValueError, match="secret"):
        verify_webhook(body, headers_of(body), secret)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"id":1,"event":"x"}'])
def test_it_says_so_when_it_cannot_read_what_is_signed(body: bytes) -> None:
    with pytest.raises(InvalidWebhook, match="cannot be read"):
        verify_webhook(body, headers_of(body), SECRET)


def test_it_takes_the_headers_of_a_framework() -> None:
    body = body_of()
    assert verify_webhook(body, httpx.Headers(headers_of(body)), SECRET).id == ID


# -- returns from the checkout ----------------------------------------------------------------


async def came_back(counter: Counter, **order: Any) -> tuple[str, str, JwkSet]:
    """The URL with which a buyer comes back who has paid; the contract's number; the keys."""
    paid = await counter.order(**order)
    await paid.paid_by("4242 4242 4242 4242")
    answer = await paid.back()
    assert answer.status_code == 303
    broker = counter.broker
    async with AsyncEarnestClient(counter.url, broker.client_id, broker.secret) as escrow:
        return answer.headers["Location"], paid.number, await escrow.get_keys()


def with_(url: str, **changed: str | None) -> str:
    """`url` with other values in its query; None leaves one out."""
    query = dict(parse_qsl(urlsplit(url).query)) | changed
    kept = {name: value for name, value in query.items() if value is not None}
    return urlsplit(url)._replace(query=urlencode(kept)).geturl()


async def test_it_believes_what_the_checkout_signed(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, number, keys = await came_back(counter)
    assert url.startswith(CALLBACK)
    mine = counter.broker.client_id
    result = verify_return(url, keys, client_id=mine, issuer=counter.url)
    assert (result.status, result.contract_id) == ("success", number)
    assert dict(parse_qsl(urlsplit(url).query))["paymentId"] == result.payment_id
    path = urlsplit(url)._replace(scheme="", netloc="").geturl()
    assert verify_return(path, keys, client_id=mine) == result

    signature = dict(parse_qsl(urlsplit(url).query))["signature"]
    header, payload, tail = signature.split(".")
    another, _, _ = await came_back(counter)
    other_payload = dict(parse_qsl(urlsplit(another).query))["signature"].split(".")[1]
    none = "eyJhbGciOiJub25lIiwia2lkIjoieCIsInR5cCI6ImNoZWNrb3V0LXJlc3VsdCtqd3QifQ"
    for altered in (
        with_(url, Status="failed"),
        with_(url, contractId="CNT-2601-00000001"),
        with_(url, paymentId="PAY-1"),
        with_(url, signature=None),
        with_(url, Status=None),
        url + "&Status=success",
        with_(url, signature=f"{header}.{other_payload}.{tail}"),
        with_(url, signature=f"{header}.{payload}.{tail[:-8]}AAAAAAAA"),
        with_(url, signature=f"{header}.{payload}."),
        with_(url, signature=f"{none}.{payload}."),
        with_(url, signature=f"{none}.{payload}.{tail}"),
        with_(url, signature="x.y.z"),
        with_(url, signature="é"),
        "",
    ):
        with pytest.raises(InvalidReturn):
            verify_return(altered, keys, client_id=mine)
    for others in (JwkSet([]), JwkSet([type(keys.keys[0])(kid="x", kty="EC")])):
        with pytest.raises(InvalidReturn):
            verify_return(url, others, client_id=mine)
    for whom in ({"client_id": "ec_other"}, {"client_id": mine, "issuer": "https://other"}):
        with pytest.raises(InvalidReturn, match="somebody else"):
            verify_return(url, keys, **whom)

    real = time.time

    class Later:
        def __init__(self, seconds: int) -> None:
            self.seconds = seconds

        def time(self) -> float:
            return real() + self.seconds

    for seconds in (700, -700):
        monkeypatch.setattr(signed, "time", Later(seconds))
        with pytest.raises(InvalidReturn, match="over, or not yet"):
            verify_return(url, keys, client_id=mine)


async def test_it_takes_no_access_token_for_a_result(counter: Counter) -> None:
    url, number, keys = await came_back(counter)
    rival = await make_broker(counter.app, "Rival Broker")
    token = rival.token
    with pytest.raises(InvalidReturn, match="not signed with one"):
        verify_return(with_(url, signature=token), keys, client_id=counter.broker.client_id)
    with pytest.raises(InvalidReturn, match="somebody else"):
        verify_return(url, keys, client_id=rival.client_id)
    result = verify_return(url, keys, client_id=counter.broker.client_id)
    assert isinstance(result, CheckoutResult)
    assert result.contract_id == number
    await rival.client.aclose()


def test_it_imports_without_the_library_that_only_returns_need() -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from earnest_client import verify_return, verify_webhook\n"
        "from earnest_client.signed import _check_rsa\n"
        "from earnest_client.documents import Jwk\n"
        "try: _check_rsa(Jwk(kid='', kty='RSA'), b'', b'')\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(signed.__file__).removesuffix("/earnest_client/signed.py")},
    )
    assert done.stdout.strip() == "verify_return needs: pip install earnest-client[returns]"
