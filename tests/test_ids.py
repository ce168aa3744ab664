"""Identifiers: sortable by time, never the same twice."""

from datetime import UTC, datetime, timedelta
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.errors import InvalidField
from earnest.ids import (
    OBJECT_KEY_MAX,
    entry_id,
    key_of,
    marketplace_number,
    parse_public_id,
    public_id,
    sub_id,
)
from earnest.store.clock import OFFSET_SECONDS_MAX

NUMBERS = 90_000_000
keys = st.integers(1, OBJECT_KEY_MAX)
salts = st.integers(0, 2**24 - 1)
moments = st.datetimes(datetime(1971, 1, 1), datetime(2105, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(st.lists(st.tuples(moments, keys, salts), min_size=2, max_size=20))
def test_it_makes_public_ids_that_sort_by_time(made: list[tuple[datetime, int, int]]) -> None:
    def second_and_key(one: tuple[datetime, int, int]) -> tuple[int, int]:
        return int(one[0].timestamp()), one[1]

    ids = [public_id(key, at, salt) for at, key, salt in sorted(made, key=second_and_key)]
    seconds = [one[:18] for one in ids]
    assert seconds == sorted(seconds)


@given(moments, keys, salts)
def test_it_finds_the_key_in_a_public_id(at: datetime, key: int, salt: int) -> None:
    made = public_id(key, at, salt)
    assert key_of(made) == key
    assert parse_public_id(made.upper(), "id") == made
    assert key_of(sub_id(made, 3)) == key
    assert sub_id(made, 3) != sub_id(made, 4)


def test_it_has_room_for_every_moment_that_the_clock_can_be_moved_to() -> None:
    latest = datetime.now(UTC) + timedelta(seconds=OFFSET_SECONDS_MAX)
    assert len(public_id(1, latest, 0)) == 24
    assert key_of(public_id(1, latest, 0)) == 1


@given(st.integers(1, 2**62), st.integers(1, 2**62), moments)
def test_it_gives_two_entries_two_ids(one: int, other: int, at: datetime) -> None:
    assert (entry_id(one, at) == entry_id(other, at)) is (one == other)


@pytest.mark.parametrize("key", [0, -1, OBJECT_KEY_MAX + 1])
def test_it_refuses_a_key_that_does_not_fit(key: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        public_id(key, datetime(2026, 5, 1, tzinfo=UTC), 0)


@pytest.mark.parametrize(
    "text", ["", "xyz", "0" * 23, "0" * 25, "g" * 24, "0" * 23 + "\n", " " * 24, "٠" * 24]
)
def test_it_refuses_what_is_not_24_hexadecimal_digits(text: str) -> None:
    with pytest.raises(InvalidField, match="contractId must be"):
        parse_public_id(text, "contractId")


def test_it_never_gives_two_contracts_one_number() -> None:
    """i -> c + i * m mod n is a bijection on the full range exactly when gcd(m, n) is 1; the
    step between neighbours is m, so m and the range are read off the function itself."""
    first, second = (int(marketplace_number(i)[3:]) for i in (1, 2))
    step = (second - first) % NUMBERS
    assert gcd(step, NUMBERS) == 1
    sampled = set()
    for i in range(1, 1_000_001):
        number = marketplace_number(i)
        assert int(number[3:]) == 10_000_000 + (first - 10_000_000 + (i - 1) * step) % NUMBERS
        sampled.add(number)
    assert len(sampled) == 1_000_000


@given(st.integers(1, NUMBERS))
def test_it_numbers_contracts_with_eight_digits_of_which_the_first_is_not_zero(i: int) -> None:
    number = marketplace_number(i)
    assert number.startswith("CON")
    assert len(number) == 11
    assert 10_000_000 <= int(number[3:]) <= 99_999_999


@pytest.mark.parametrize("i", [0, -1, NUMBERS + 1])
def test_it_refuses_to_number_beyond_the_last(i: int) -> None:
    with pytest.raises(ValueError, match="used up"):
        marketplace_number(i)
