"""The hash chain of a contract: nothing in it can be changed, moved, left out or added unseen."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.domain import verbs
from earnest.domain.audit import Event, canonical, genesis, link
from earnest.domain.contract import Contract
from earnest.domain.party import SYSTEM
from earnest.ids import PublicId, key_of
from earnest.store.db import Pool
from life import Life
from reachable import ALICE, ATTEMPTS, BOB, NOW, OLGA, SHOP, Drawn, pay
from web import Cast

ANOTHER = PublicId("f" * 24)


def lived() -> tuple[Contract, tuple[Event, ...]]:
    """A contract from creation to release, and its events."""
    drawn = Drawn()
    new = verbs.new_contract(
        SHOP,
        buyer=ALICE.key,
        seller=BOB.key,
        job=7,
        title="Logo",
        amount_minor=1_200_000,
        now=NOW,
        ids=drawn.ids,
    )
    change = pay(new, SYSTEM, NOW, drawn.ids)
    events = change.events
    contract = change.contract
    for verb, actor in (
        ("approve", BOB),
        ("work on", BOB),
        ("complete", BOB),
        ("request release", ALICE),
        ("approve release", OLGA),
    ):
        assert contract is not None
        change = ATTEMPTS[verb](contract, actor, NOW, drawn.ids)
        contract, events = change.contract, events + change.events
    assert contract is not None
    return contract, events


CONTRACT, EVENTS = lived()


def head_of(contract: PublicId, events: tuple[Event, ...]) -> bytes | None:
    """The chain recomputed from nothing but its lines; None where it is broken inside."""
    head = genesis(contract)
    for seq, event in enumerate(events, start=1):
        assert event.seq is not None
        head = link(head, event.seq, event.recorded_at, event.type, event.actor, event.body)
        if event.seq != seq or event.hash != head:
            return None
    return head


def test_it_recomputes_to_the_head_on_the_contract() -> None:
    assert [event.type for event in EVENTS] == [
        "contract.created",
        "payment.completed",
        "contract.approved",
        "contract.work_updated",
        "contract.work_updated",
        "release.requested",
        "contract.released",
    ]
    assert head_of(CONTRACT.public_id, EVENTS) == CONTRACT.event_head
    assert CONTRACT.event_seq == len(EVENTS)


def forged(events: tuple[Event, ...]) -> tuple[Event, ...]:
    """The same lines with every hash made to fit again, as an insider would."""
    head, fitting = genesis(CONTRACT.public_id), []
    for seq, event in enumerate(events, start=1):
        head = link(head, seq, event.recorded_at, event.type, event.actor, event.body)
        fitting.append(msgspec.structs.replace(event, seq=seq, hash=head))
    return tuple(fitting)


FIELDS: dict[str, Callable[[Any], Any]] = {
    "seq": lambda seq: seq + 1,
    "type": lambda text: text + ".",
    "actor": lambda text: text[:-1] + "9",
    "body": lambda text: text.replace("{", '{"x":1,', 1),
    "recorded_at": lambda at: at + timedelta(microseconds=1),
    "hash": lambda old: bytes([old[0] ^ 1]) + old[1:],
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("at", range(len(EVENTS)))
def test_it_breaks_when_any_field_of_any_line_changes(field: str, at: int) -> None:
    changed = msgspec.structs.replace(
        EVENTS[at], **{field: FIELDS[field](getattr(EVENTS[at], field))}
    )
    altered = (*EVENTS[:at], changed, *EVENTS[at + 1 :])
    assert head_of(CONTRACT.public_id, altered) is None
    if field not in ("seq", "hash"):  # and making it fit again moves the head
        assert head_of(CONTRACT.public_id, forged(altered)) not in (None, CONTRACT.event_head)


@given(st.permutations(range(len(EVENTS))))
def test_it_breaks_when_lines_change_places(order: list[int]) -> None:
    moved = tuple(EVENTS[i] for i in order)
    if order == sorted(order):
        assert head_of(CONTRACT.public_id, moved) == CONTRACT.event_head
        return
    assert head_of(CONTRACT.public_id, moved) is None
    if [e.type + e.body for e in moved] != [e.type + e.body for e in EVENTS]:
        assert head_of(CONTRACT.public_id, forged(moved)) != CONTRACT.event_head


@given(st.sets(st.integers(0, len(EVENTS) - 1), min_size=1))
def test_it_breaks_when_lines_are_left_out(gone: set[int]) -> None:
    left = tuple(event for i, event in enumerate(EVENTS) if i not in gone)
    assert head_of(CONTRACT.public_id, left) != CONTRACT.event_head
    assert head_of(CONTRACT.public_id, forged(left)) != CONTRACT.event_head


def test_it_breaks_when_a_line_is_added_or_said_twice() -> None:
    for at in range(len(EVENTS)):
        more = (*EVENTS[: at + 1], EVENTS[at], *EVENTS[at + 1 :])
        assert head_of(CONTRACT.public_id, more) is None
        assert head_of(CONTRACT.public_id, forged(more)) != CONTRACT.event_head


def test_it_belongs_to_one_contract_only() -> None:
    assert head_of(ANOTHER, EVENTS) is None
    assert genesis(ANOTHER) != genesis(CONTRACT.public_id)


texts = st.text(max_size=8)


@given(st.tuples(texts, texts, texts), st.tuples(texts, texts, texts))
def test_it_never_confuses_where_one_part_ends_and_the_next_begins(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    before = genesis(CONTRACT.public_id)
    assert (link(before, 1, NOW, *one) == link(before, 1, NOW, *other)) is (one == other)
    whole = "".join(one)
    slid = (whole[:1], whole[1:2], whole[2:])
    assert (link(before, 1, NOW, *one) == link(before, 1, NOW, *slid)) is (one == slid)


def test_it_hashes_an_instant_and_not_a_time_zone() -> None:
    before = genesis(CONTRACT.public_id)
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert link(before, 1, NOW, "t", "a", "{}") == link(before, 1, elsewhere, "t", "a", "{}")
    assert isinstance(NOW, datetime)
    assert NOW.tzinfo is UTC


@given(st.dictionaries(texts, st.one_of(texts, st.integers(-(2**60), 2**60), st.booleans())))
def test_it_writes_a_body_in_one_way_only(body: dict[str, Any]) -> None:
    backwards = dict(reversed(body.items()))
    assert canonical(body) == canonical(backwards)
    assert msgspec.json.decode(canonical(body)) == body


# -- what the database holds ----------------------------------------------------------------------

CHAIN = """
SELECT id, commit_id, subject, type, actor, recorded_at, body, contract_id, seq, hash
FROM event WHERE contract_id = $1 ORDER BY seq
"""
HEAD = "SELECT event_head, event_seq FROM contract WHERE id = $1"


@pytest.mark.parametrize("point", ["released", "refunded"])
async def test_it_keeps_a_chain_in_the_database_that_recomputes(cast: Cast, point: str) -> None:
    life = await Life.at(cast, point)
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        rows = await conn.fetch(CHAIN, key_of(PublicId(life.contract)))
        row = await conn.fetchrow(HEAD, key_of(PublicId(life.contract)))
    assert row is not None
    events = tuple(Event(*row) for row in rows)
    assert head_of(PublicId(life.contract), events) == row["event_head"]
    assert len(events) == row["event_seq"] >= 4
