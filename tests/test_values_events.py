"""What is written of a decision and told to partners, in values: versions, hashes, deliveries."""

import re
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import earnest
from earnest.domain.audit import canonical, genesis, link
from earnest.domain.change import Change, audit_event, next_payment, next_refund
from earnest.domain.delivery import (
    ATTEMPTS_MAX,
    DISABLED_DAYS,
    FAILURES_MAX,
    PUBLIC_EVENTS,
    RETRY_SECONDS,
    STATES,
    TEST_EVENT,
    Judged,
    Verdict,
    judge,
)
from earnest.domain.party import Actor, Role
from earnest.domain.payment import Payment
from earnest.domain.refund import Refund, RefundKind
from earnest.ids import PublicId
from reachable import Drawn

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEMA = (Path(earnest.__file__).parent / "migrations" / "schema.sql").read_text()

# -- the next version -----------------------------------------------------------------------------

HEAD: dict[str, Any] = {
    "key": 9,
    "public_id": PublicId("0" * 24),
    "business": 1,
    "currency": "INR",
    "amount_minor": 40_000,
    "created_at": NOW,
    "version": 3,
    "commit_id": 7,
    "updated_at": NOW,
}
REFUND = Refund(contract=5, payment=6, kind=RefundKind.FULL, parts=(), reason="late", **HEAD)
PAYMENT = Payment(job=7, buyer=1, seller=2, provider_account=3, metadata={}, **HEAD)


@pytest.mark.parametrize(("at", "kept"), [(NOW + HOUR, NOW + HOUR), (NOW - HOUR, NOW)])
def test_what_changes_is_one_version_on_and_never_younger_than_before(
    at: datetime, kept: datetime
) -> None:
    """Clocks go back; a history does not."""
    refund = next_refund(REFUND, 8, at, attempts=2)
    assert (refund.version, refund.commit_id, refund.updated_at) == (4, 8, kept)
    assert (refund.attempts, refund.amount_minor) == (2, 40_000)
    payment = next_payment(PAYMENT, 8, at, session_id="cs_1")
    assert (payment.version, payment.commit_id, payment.updated_at) == (4, 8, kept)
    assert (payment.session_id, payment.amount_minor) == ("cs_1", 40_000)


def test_an_event_without_a_chain_begins_its_commit() -> None:
    olga = Actor(Role.ADMIN, 5)
    event = audit_event(Drawn().ids, "business:6", "business.changed", olga, NOW, {"b": 1, "a": 2})
    assert event.key == event.commit_id
    assert (event.subject, event.type, event.actor) == ("business:6", "business.changed", "admin:5")
    assert (event.recorded_at, event.body) == (NOW, '{"a":2,"b":1}')
    assert (event.contract, event.seq, event.hash) == (None, None, None)


def test_a_change_says_nothing_of_what_it_does_not_touch() -> None:
    change = Change(commit_id=1, recorded_at=NOW, occurred_at=NOW, events=())
    assert (change.members, change.bookings, change.movements) == ((), (), ())
    assert change.empties_an_account is False


# -- the chain ------------------------------------------------------------------------------------


def hashed(*parts: bytes) -> bytes:
    return sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts)).digest()


@pytest.mark.parametrize(
    ("at", "written"),
    [
        (NOW, b"2026-05-01T09:00:00.000000+00:00"),
        (NOW + timedelta(microseconds=120), b"2026-05-01T09:00:00.000120+00:00"),
        (NOW.astimezone(timezone(5 * HOUR + HOUR / 2)), b"2026-05-01T09:00:00.000000+00:00"),
    ],
)
def test_the_hash_covers_the_time_to_the_microsecond_in_utc(at: datetime, written: bytes) -> None:
    """Every part in full, however round it is: a hash of years ago has to come out the same."""
    contract = PublicId("69f46b9000000004d2abcdef")
    first = genesis(contract)
    assert first == hashed(b"earnest.contract.v1", contract.encode())
    body = canonical({"amount": 12, "actor": "é"})
    assert body == '{"actor":"é","amount":12}'
    assert link(first, 12, at, "contract.approved", "freelancer:2", body) == hashed(
        first, b"12", written, b"contract.approved", b"freelancer:2", body.encode()
    )


# -- deliveries -----------------------------------------------------------------------------------


def words_in(text: str) -> list[str]:
    """The words of the one line of the schema that this is in."""
    (line,) = [line for line in SCHEMA.splitlines() if text in line]
    return re.findall(r"'([a-z.-]+)'::text", line)


def test_partners_hear_of_what_the_database_sends_and_of_nothing_else() -> None:
    assert sorted(PUBLIC_EVENTS) == sorted(words_in("RETURN (type = ANY (ARRAY['contract.created'"))
    assert TEST_EVENT == "webhook.test"
    assert TEST_EVENT not in PUBLIC_EVENTS


def test_a_delivery_is_in_one_of_the_states_of_the_database() -> None:
    assert list(STATES) == words_in("CONSTRAINT delivery_state_known")
    given_up = words_in("CONSTRAINT delivery_failed_for_known")
    assert {Verdict.EXHAUSTED, Verdict.REFUSED} <= set(given_up)
    assert [str(verdict) for verdict in Verdict] == "succeeded retry exhausted refused gone".split()


def test_it_is_attempted_six_times_within_an_hour_and_a_quarter() -> None:
    assert (RETRY_SECONDS, ATTEMPTS_MAX) == ((10, 30, 120, 600, 3_600), 6)
    assert judge(None, 5, 3_601) == Judged(Verdict.RETRY, 3_600)
    assert judge(None, 6) == Judged(Verdict.EXHAUSTED)
    assert judge(204, 6).delay_seconds == judge(410, 1).delay_seconds == 0


def test_ten_failures_in_a_row_disable_an_endpoint_for_a_week() -> None:
    assert (FAILURES_MAX, DISABLED_DAYS) == (10, 7)
