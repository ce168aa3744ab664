"""Those who act and those whom contracts bind, in values: what they are called, everywhere."""

import re
from datetime import UTC, datetime
from pathlib import Path

import earnest
from earnest.domain.party import SYSTEM, Actor, Member, Party, Role
from earnest.domain.people import profile_id
from earnest.ids import PublicId

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
SCHEMA = (Path(earnest.__file__).parent / "migrations" / "schema.sql").read_text()


def member(first_name: str, last_name: str) -> Member:
    return Member(1, PublicId("0" * 24), 6, "huda", "966500000001", first_name, last_name, NOW)


def test_a_member_has_one_name_without_a_gap() -> None:
    assert member("Huda", "Al Amin").name == "Huda Al Amin"
    assert member("Huda", "").name == "Huda"
    assert member("", "Al Amin").name == "Al Amin"


def test_the_trail_names_an_actor_by_role_and_key() -> None:
    named = {str(role): Actor(role, 42).name for role in Role}
    assert named == {
        "client": "client:42",
        "freelancer": "freelancer:42",
        "admin": "admin:42",
        "partner": "partner:42",
        "system": "system:42",
    }
    assert SYSTEM.name == "system:0"


def test_logins_have_the_first_three_roles() -> None:
    (known,) = re.findall(r"CONSTRAINT login_role_known CHECK (.*)", SCHEMA)
    assert re.findall(r"'(\w+)'::text", known) == list(Role)[:3]


def test_what_acts_without_a_token_has_no_id_and_no_generation() -> None:
    assert (SYSTEM.public_id, SYSTEM.token_generation) == ("", 0)


def test_a_party_without_an_account_shows_its_name_alone() -> None:
    shown = Party(1, PublicId("0" * 24), "Alice")
    assert (shown.name, shown.email, shown.picture) == ("Alice", "", "")


def test_a_profile_is_the_first_part_of_its_owner() -> None:
    assert profile_id(PublicId("69f46b9000000004d2abcdef")) == "69f46b9000000004d2000001"
