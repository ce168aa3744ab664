"""When a delivery is tried again, and what is sent: pure rules, by tables and by property."""

import hmac
import json
import shutil
import subprocess
from base64 import b64decode
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.domain.delivery import PUBLIC_EVENTS, RETRY_SECONDS, Judged, Verdict, judge
from earnest.domain.money import CURRENCIES, to_major
from earnest.store.db import Pool
from earnest.store.deliveries import Due, Told
from earnest.worker.webhook_body import plain, render, signed_headers

AT = datetime(2026, 5, 1, 9, 0, 0, 123_456, tzinfo=UTC)
ID = UUID("0190a8c0-7e4c-7000-8000-000000000001")
SECRET = "whsec_" + "aB3" * 16
NODE = shutil.which("node")

TOLD = Told(
    type="contract.approved",
    event_key=4711,
    body='{"status":"approved","previousStatus":"pending"}',
    recorded_at=AT,
    number="CNT-2605-00100007",
    amount_minor=60_000,
    currency="SAR",
    terms='{"title":"Logo","reference":"ord-88","metadata":{"metadata1":"a","metadata4":"عقد"}}',
)


def due(told: Told | None = TOLD, type_: str = "") -> Due:
    """A delivery of `told` that was never attempted."""
    return Due(
        id=ID,
        endpoint=ID,
        business=2,
        series=1,
        attempts=0,
        type=type_ or (told.type if told else "webhook.test"),
        body=None,
        created_at=AT,
        url="https://example.com/",
        secret=b"",
        old_secret=None,
        failed_attempts=0,
        before=None,
        before_at=None,
        contract=None,
        told=told,
        now=AT,
    )


def rendered(**other: object) -> bytes:
    return render(due(msgspec.structs.replace(TOLD, **other)))


# -- when -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, None])
def test_it_tries_again_by_the_schedule_five_times(status: int | None) -> None:
    judged = [judge(status, number) for number in range(1, 7)]
    assert [one.delay_seconds for one in judged] == [10, 30, 120, 600, 3600, 0]
    assert [one.verdict for one in judged] == [Verdict.RETRY] * 5 + [Verdict.EXHAUSTED]


def test_it_believes_every_other_status_at_once() -> None:
    retryable = {408, 429, 500, 502, 503, 504}
    for status in range(100, 600):
        verdict = judge(status, 1).verdict
        if 200 <= status < 300:
            assert verdict is Verdict.SUCCEEDED
        elif status == 410:
            assert verdict is Verdict.GONE
        else:
            assert verdict is (Verdict.RETRY if status in retryable else Verdict.REFUSED), status


@pytest.mark.parametrize(
    ("number", "asked", "delay"),
    [(1, 0, 10), (1, 9, 10), (1, 60, 60), (5, 60, 3600), (1, 3600, 3600), (1, 10**9, 3600)],
)
def test_it_waits_as_long_as_it_is_asked_to_but_an_hour_at_most(
    number: int, asked: int, delay: int
) -> None:
    assert judge(503, number, asked) == Judged(Verdict.RETRY, delay)


def test_it_does_not_try_a_seventh_time_though_it_is_asked_to() -> None:
    assert judge(503, len(RETRY_SECONDS) + 1, 60).verdict is Verdict.EXHAUSTED


# -- what -------------------------------------------------------------------------------------


def test_it_says_what_the_guide_says_in_its_order() -> None:
    assert (
        rendered()
        == (
            '{"id":"0190a8c0-7e4c-7000-8000-000000000001","event":"contract.approved",'
            '"createdAt":"2026-05-01T09:00:00.123Z","data":{"contractId":"CNT-2605-00100007",'
            '"reference":"ord-88","status":"Approved","previousStatus":"Pending","amount":600,'
            '"currency":"SAR","timestamp":"2026-05-01T09:00:00.123Z","metadata":{"metadata1":"a",'
            '"metadata2":"","metadata3":"","metadata4":"عقد","reference":"ord-88"}}}'
        ).encode()
    )


def data_of(type_: str, **body: object) -> dict[str, object]:
    told = json.dumps({"status": "escrow", "previousStatus": "approved"} | body)
    found: dict[str, object] = json.loads(rendered(type=type_, body=told))["data"]
    return found


def test_it_names_the_payment_its_transaction_and_invoice() -> None:
    payment = "69f46b9000000004d2abcdef"  # of key 1234
    data = data_of("payment.completed", payment=payment, amount=686.25)
    assert data["paymentId"] == "PAY-1234"
    assert data["transactionId"] == "TXN-4711"
    assert data["invoiceId"] == "INV-4711"
    assert data["amount"] == 600, "the base, not what the buyer paid with all fees"
    names = list(data)
    assert names[5:9] == ["currency", "paymentId", "transactionId", "invoiceId"]


def test_it_names_a_release_by_its_transaction_and_milestone() -> None:
    data = data_of("contract.released", amount=250.5, milestone=41)
    assert (data["transactionId"], data["amount"]) == ("TXN-4711", 250.5)
    assert data["metadata"]["milestoneId"] == "41"  # type: ignore[index]
    assert "paymentId" not in data
    assert "invoiceId" not in data


@pytest.mark.parametrize(
    "type_", ["refund.full-initiated", "refund.partial-succeeded", "contract.refunded"]
)
def test_it_names_a_refund_by_its_number_as_text(type_: str) -> None:
    data = data_of(type_, refund=77, amount=100)
    assert (data["transactionId"], data["amount"]) == ("77", 100)
    assert "invoiceId" not in data


@pytest.mark.parametrize("type_", ["contract.created", "contract.delivered", "contract.disputed"])
def test_it_leaves_out_what_an_event_does_not_have(type_: str) -> None:
    data = data_of(type_)
    assert not {"paymentId", "transactionId", "invoiceId"} & set(data)
    assert "milestoneId" not in data["metadata"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("spelled", "shown"),
    [("waitingForBankPayment", "WaitingForBankPayment"), ("escrow", "Escrow"), (None, None)],
)
def test_it_spells_statuses_with_a_capital(spelled: str | None, shown: str | None) -> None:
    data = data_of("contract.approved", status=spelled, previousStatus=spelled)
    assert (data["status"], data["previousStatus"]) == (shown, shown)


def test_it_does_without_reference_and_metadata() -> None:
    data = json.loads(rendered(terms='{"title":"Logo"}'))["data"]
    assert data["reference"] is None
    assert data["metadata"] == {
        "metadata1": "",
        "metadata2": "",
        "metadata3": "",
        "metadata4": "",
        "reference": None,
    }


def test_it_tests_without_a_contract() -> None:
    body = json.loads(render(due(None)))
    assert body["event"] == "webhook.test"
    assert body["id"] == str(ID)
    assert set(body["data"]) == {"message", "timestamp"}


async def test_the_database_knows_the_same_public_events(pool: Pool) -> None:
    async with pool.connection() as conn:
        types = [*PUBLIC_EVENTS, "contract.claimed", "webhook.test", "dispute.resolved", ""]
        known = "SELECT t FROM unnest($1::text[]) AS t WHERE is_public_event(t)"
        assert [row[0] for row in await conn.fetch(known, types)] == list(PUBLIC_EVENTS)


@given(minor=st.integers(0, 10**14), code=st.sampled_from(["SAR", "JPY", "KWD", "CLF"]))
def test_it_writes_the_shortest_number(minor: int, code: str) -> None:
    amount = to_major(minor, CURRENCIES[code])
    written = msgspec.json.Encoder(decimal_format="number").encode(plain(amount)).decode()
    assert Decimal(written) == amount
    assert "E" not in written
    assert "." not in written or not written.endswith(("0", "."))


TEXTS = ["", "عقد تصميم", '<script>"\\/\b\f\n\r\t\x00\x1f\x7f\u2028\u2029', "😀 e\u0301 \ufeff"]
AMOUNTS = ["600", "600.0", "686.25", "457.50", "0.01", "999999.99", "1E+2", "0.0001"]


@pytest.mark.skipif(NODE is None, reason="there is no node on this machine")
def test_it_writes_what_javascript_would_write() -> None:
    bodies = [
        rendered(
            body=f'{{"status":"escrow","amount":{amount.replace("E+", "e")}}}',
            terms=json.dumps({"reference": text, "metadata": {"metadata1": text}}),
        )
        for text in TEXTS
        for amount in AMOUNTS
    ]
    script = """
    const lines = require('fs').readFileSync(0, 'utf8').split('\\n')
    process.stdout.write(lines.map(line => JSON.stringify(JSON.parse(line))).join('\\n'))
    """
    assert NODE is not None
    sent = b"\n".join(bodies)
    said = subprocess.run([NODE, "-e", script], input=sent, capture_output=True, check=True)
    assert said.stdout == sent


# -- signed -----------------------------------------------------------------------------------


def test_it_signs_by_both_schemes() -> None:
    body = rendered()
    headers = signed_headers(due(), body, [SECRET], AT)
    assert headers["Content-Type"] == "application/json"
    assert headers["X-WePay-Event"] == "contract.approved"
    assert headers["X-WePay-Webhook-Id"] == headers["webhook-id"] == str(ID)
    assert headers["X-WePay-Timestamp"] == "2026-05-01T09:00:00.123Z"
    assert headers["webhook-timestamp"] == "1777626000"
    expected = hmac.new(SECRET.encode(), body, "sha256").hexdigest()
    assert headers["X-WePay-Signature"] == f"sha256={expected}"
    key = b64decode("aB3" * 16)
    signed = f"{ID}.1777626000.".encode() + body
    version, _, signature = headers["webhook-signature"].partition(",")
    assert version == "v1"
    assert b64decode(signature) == hmac.new(key, signed, "sha256").digest()


def test_it_signs_with_the_old_secret_too_but_only_by_the_standard() -> None:
    body, old = rendered(), "whsec_" + "Zz9" * 16
    both = signed_headers(due(), body, [SECRET, old], AT)
    new_only = signed_headers(due(), body, [SECRET], AT)
    old_only = signed_headers(due(), body, [old], AT)
    assert both["X-WePay-Signature"] == new_only["X-WePay-Signature"]
    assert both["webhook-signature"].split() == [
        new_only["webhook-signature"],
        old_only["webhook-signature"],
    ]
