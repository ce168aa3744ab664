"""An event is read one way or not at all."""

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.errors import MalformedBody
from earnest.providers.events import EventKind, ProviderEvent, parse_event
from earnest.providers.strict import DEPTH_MAX, strict_object

PAID: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "account": "acct_9",
    "created": 1_780_000_000,
    "data": {
        "object": {
            "id": "cs_test_1",
            "object": "checkout.session",
            "amount_total": 1_200_000,
            "currency": "inr",
            "livemode": False,
            "metadata": {"jobId": "66aa00000000000000000a01"},
            "payment_intent": "pi_1",
            "payment_status": "paid",
        }
    },
    "livemode": False,
    "type": "checkout.session.completed",
}
MISSING = object()


def changed(path: str, value: object) -> bytes:
    """PAID with the field at `path` replaced, or removed if `value` is MISSING."""
    event = copy.deepcopy(PAID)
    *parents, name = path.split(".")
    target = event
    for parent in parents:
        target = target[parent]
    if value is MISSING:
        del target[name]
    else:
        target[name] = value
    return json.dumps(event).encode()


def test_reads_a_paid_checkout() -> None:
    assert parse_event(json.dumps(PAID).encode()) == ProviderEvent(
        id="evt_1",
        type="checkout.session.completed",
        kind=EventKind.CHECKOUT_PAID,
        created_at=datetime.fromtimestamp(1_780_000_000, UTC),
        livemode=False,
        account="acct_9",
        session_id="cs_test_1",
        session_livemode=False,
        payment_id="pi_1",
        amount_minor=1_200_000,
        currency="INR",
        paid=True,
        metadata={"jobId": "66aa00000000000000000a01"},
    )


@pytest.mark.parametrize(
    ("type_", "payment_status", "kind"),
    [
        ("checkout.session.completed", "paid", EventKind.CHECKOUT_PAID),
        ("checkout.session.completed", "unpaid", EventKind.CHECKOUT_UNPAID),
        ("checkout.session.completed", "no_payment_required", EventKind.CHECKOUT_UNPAID),
        ("checkout.session.async_payment_succeeded", "paid", EventKind.CHECKOUT_PAID),
        ("checkout.session.async_payment_succeeded", "unpaid", EventKind.CHECKOUT_UNPAID),
        ("checkout.session.async_payment_failed", "unpaid", EventKind.CHECKOUT_FAILED),
        ("checkout.session.expired", "unpaid", EventKind.CHECKOUT_EXPIRED),
    ],
)
def test_means_paid_only_where_money_was_captured(
    type_: str, payment_status: str, kind: EventKind
) -> None:
    event = copy.deepcopy(PAID)
    event["type"] = type_
    event["data"]["object"]["payment_status"] = payment_status
    parsed = parse_event(json.dumps(event).encode())
    assert parsed.kind is kind
    assert parsed.paid is (kind is EventKind.CHECKOUT_PAID)


def test_reads_a_type_it_does_not_know_as_other() -> None:
    raw = b'{"id":"evt_2","object":"event","type":"charge.refunded","data":{"object":{}}}'
    parsed = parse_event(raw)
    assert parsed == ProviderEvent("evt_2", "charge.refunded", EventKind.OTHER, None, False, None)


@pytest.mark.parametrize(
    ("path", "value", "field", "expected"),
    [
        ("livemode", True, "livemode", True),
        ("livemode", MISSING, "livemode", False),
        ("data.object.livemode", True, "session_livemode", True),
        ("account", MISSING, "account", None),
        ("account", None, "account", None),
        ("created", MISSING, "created_at", None),
        ("data.object.metadata", MISSING, "metadata", {}),
        ("data.object.metadata", None, "metadata", {}),
        ("data.object.payment_intent", None, "payment_id", None),
        ("data.object.payment_intent", {"id": "pi_7"}, "payment_id", "pi_7"),
        ("data.object.amount_total", 0, "amount_minor", 0),
        ("data.object.amount_total", 2**53, "amount_minor", 2**53),
        ("id", "e" * 255, "id", "e" * 255),
    ],
)
def test_reads_the_fields_that_may_vary(
    path: str, value: object, field: str, expected: object
) -> None:
    assert getattr(parse_event(changed(path, value)), field) == expected


@pytest.mark.parametrize("value", [MISSING, None, 7, True, [], {}, "", "x" * 256, "a b", "é", "\0"])
@pytest.mark.parametrize("path", ["id", "type", "data.object.id", "data.object.payment_status"])
def test_refuses_an_id_that_is_missing_or_not_one(path: str, value: object) -> None:
    with pytest.raises(MalformedBody):
        parse_event(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("object", MISSING),
        ("object", "checkout.session"),
        ("object", 1),
        ("data", MISSING),
        ("data", []),
        ("data.object", MISSING),
        ("data.object", "cs_test_1"),
        ("data.object.object", MISSING),
        ("data.object.object", "payment_intent"),
        ("livemode", "false"),
        ("livemode", 0),
        ("data.object.livemode", 0),
        ("account", 9),
        ("created", "yesterday"),
        ("created", -1),
        ("created", 10**12),
        ("created", 1.5),
        ("data.object.amount_total", MISSING),
        ("data.object.amount_total", None),
        ("data.object.amount_total", True),
        ("data.object.amount_total", -1),
        ("data.object.amount_total", 2**53 + 1),
        ("data.object.amount_total", 1200000.0),
        ("data.object.amount_total", "1200000"),
        ("data.object.currency", MISSING),
        ("data.object.currency", 356),
        ("data.object.currency", "in"),
        ("data.object.currency", "inr "),
        ("data.object.payment_intent", 5),
        ("data.object.payment_intent", {"id": 5}),
        ("data.object.metadata", []),
        ("data.object.metadata", "jobId"),
        ("data.object.metadata", {"jobId": 7}),
        ("data.object.metadata", {"jobId": None}),
        ("data.object.metadata", {"jobId": "\0"}),
        ("data.object.metadata", {"\ud800": "x"}),
    ],
)
def test_refuses_a_field_that_is_missing_or_of_another_type(path: str, value: object) -> None:
    with pytest.raises(MalformedBody):
        parse_event(changed(path, value))


def nested(depth: int) -> bytes:
    """PAID with one more field, so that the whole is `depth` levels deep."""
    return (
        json.dumps(PAID).encode()[:-1] + b',"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
    )


def test_reads_down_to_the_depth_limit() -> None:
    assert parse_event(nested(DEPTH_MAX)).paid


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"event"',
        b"1",
        b"\xff\xfe",
        b'{"id":"\xc0\xaf"}',
        b"\xef\xbb\xbf" + json.dumps(PAID).encode(),
        json.dumps(PAID).encode("utf-16"),
        json.dumps(PAID).encode() + b"x",
        json.dumps(PAID).encode() + b"{}",
        json.dumps(PAID).encode()[:-1] + b',"id":"evt_1"}',
        json.dumps(PAID).encode()[:-1] + b',"\\u0069d":"evt_2"}',
        json.dumps(PAID).encode()[:-1] + b',"x":[{"a":1,"a":1}]}',
        json.dumps(PAID).encode()[:-1] + b',"x":NaN}',
        json.dumps(PAID).encode()[:-1] + b',"x":-Infinity}',
        json.dumps(PAID).encode()[:-1] + b',"x":' + b"9" * 5_000 + b"}",
        json.dumps(PAID).encode()[:-1] + b",}",
        json.dumps(PAID).replace('"', "'").encode(),
        nested(DEPTH_MAX + 1),
        nested(100_000),
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_refuses_bytes_that_can_be_read_in_two_ways_or_in_none(raw: bytes) -> None:
    with pytest.raises(MalformedBody):
        parse_event(raw)


_gaps = st.sampled_from(["", "", " ", "\n", "\t", "\r", "  "])
_inside_quotes = st.sampled_from(["a", "b", ":x", " :", "\\u0061", '\\"', '\\":', '\\" :'])


@st.composite
def objects_as_text(draw: st.DrawFn, levels: int = 3) -> str:
    """Objects with all the white space, escapes, colons and equal keys that JSON can have."""
    pairs = []
    for _ in range(draw(st.integers(0, 3))):
        name, value = draw(_inside_quotes), draw(_inside_quotes)
        inner = draw(objects_as_text(levels - 1)) if levels and draw(st.booleans()) else None
        said = f'"{value}"' if inner is None else draw(st.sampled_from([inner, f"[{inner},1]"]))
        gaps = [draw(_gaps) for _ in range(4)]
        pairs.append(f'{gaps[0]}"{name}"{gaps[1]}:{gaps[2]}{said}{gaps[3]}')
    return "{" + ",".join(pairs) + "}"


@given(text=objects_as_text())
def test_a_key_that_occurs_twice_is_seen_however_it_is_written(text: str) -> None:
    twice = False

    def pairs(of: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal twice
        twice |= len(dict(of)) != len(of)
        return dict(of)

    said = json.loads(text, object_pairs_hook=pairs)
    if twice:
        with pytest.raises(MalformedBody):
            strict_object(text.encode())
    else:
        assert strict_object(text.encode()) == said


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=8,
)
paths = st.sampled_from(
    ["id", "object", "type", "created", "livemode", "account", "data", "data.object"]
    + [f"data.object.{name}" for name in PAID["data"]["object"]]
)


@given(raw=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_never_fails_in_another_way_on_any_bytes(raw: bytes) -> None:
    with pytest.raises(MalformedBody):
        parse_event(raw)


@given(path=paths, value=json_values)
def test_never_fails_in_another_way_on_any_field(path: str, value: object) -> None:
    try:
        event = parse_event(changed(path, value))
    except MalformedBody:
        return
    if event.paid:
        assert event.session_id
        assert event.amount_minor is not None
        assert event.currency


# -- hints --------------------------------------------------------------------------------------


def hint(type_: str, kind: str, **of_object: object) -> ProviderEvent:
    body = {"id": "evt_3", "object": "event", "type": type_, "account": "acct_9"}
    subject = {"id": "obj_1", "object": kind, **of_object}
    return parse_event(json.dumps(body | {"data": {"object": subject}}).encode())


@pytest.mark.parametrize(
    ("type_", "kind", "meant"),
    [
        ("refund.created", "refund", EventKind.REFUND),
        ("refund.updated", "refund", EventKind.REFUND),
        ("refund.failed", "refund", EventKind.REFUND),
        ("charge.refund.updated", "refund", EventKind.REFUND),
        ("payout.updated", "payout", EventKind.PAYOUT),
        ("payout.paid", "payout", EventKind.PAYOUT),
        ("payout.failed", "payout", EventKind.PAYOUT),
        ("payout.canceled", "payout", EventKind.PAYOUT),
        ("charge.dispute.created", "dispute", EventKind.DISPUTE),
        ("charge.dispute.updated", "dispute", EventKind.DISPUTE),
        ("charge.dispute.closed", "dispute", EventKind.DISPUTE),
        ("charge.dispute.funds_withdrawn", "dispute", EventKind.DISPUTE),
        ("charge.dispute.funds_reinstated", "dispute", EventKind.DISPUTE),
        ("account.updated", "account", EventKind.ACCOUNT),
    ],
)
def test_reads_where_a_hint_says_to_look(type_: str, kind: str, meant: EventKind) -> None:
    read = hint(type_, kind, payment_intent={"id": "pi_1"}, status="failed", amount=7)
    assert read == ProviderEvent(
        id="evt_3",
        type=type_,
        kind=meant,
        created_at=None,
        livemode=False,
        account="acct_9",
        payment_id="pi_1",
        object_id="obj_1",
        undone=True,
    )


def test_reads_our_reference_only_where_it_belongs() -> None:
    metadata = {"refundId": "r", "payoutId": "p", "partyId": "a"}
    assert hint("refund.updated", "refund", metadata=metadata).reference == "r"
    assert hint("payout.paid", "payout", metadata=metadata).reference == "p"
    assert hint("charge.dispute.closed", "dispute", metadata=metadata).reference is None
    assert hint("account.updated", "account", metadata=metadata).reference is None


def test_reads_a_capability_as_news_of_its_account() -> None:
    read = hint("capability.updated", "capability", account="acct_9", status="active")
    assert (read.kind, read.object_id, read.undone) == (EventKind.ACCOUNT, "acct_9", False)


@pytest.mark.parametrize("type_", ["charge.refunded", "refund.unheard_of", "payout.created"])
def test_reads_nothing_of_other_kinds(type_: str) -> None:
    read = hint(type_, "charge")
    assert (read.kind, read.object_id) == (EventKind.OTHER, None)
