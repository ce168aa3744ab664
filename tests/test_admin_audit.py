"""Administrators: none without an event in the audit trail, and nobody's role ever changes.

Olga is made by the operator, Oscar by hand: whoever may write the table past the product.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from earnest.actions.accounts import create_admin
from earnest.domain.party import Role
from earnest.errors import Conflict
from earnest.ids import key_of
from earnest.store import accounts
from earnest.store.db import Pool
from earnest.store.invariant import Violation
from earnest.store.verify import NOT_CHECKED, check, verify
from web import SECRET_KEY

PASSWORD = "Sun$hine9"
EVENTS = """
SELECT id, commit_id, contract_id, seq, subject, type, actor, recorded_at, body, hash FROM event
"""
PEOPLE = """
SELECT
    (SELECT count(*) FROM party) AS party,
    (SELECT count(*) FROM login) AS login,
    (SELECT count(*) FROM event) AS event
"""
IS_WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'earnest cli'
AND wait_event_type = 'Lock'
"""
IS_CONNECTED = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'earnest cli'
"""
PLANT_ADMIN = """
INSERT INTO login (party_id, role, email_canonical, password_hash)
SELECT id, 'admin', email, 'x' FROM party WHERE id = $1
"""
PLANT_PARTY = """
INSERT INTO party (id, public_id, business_id, name, email)
SELECT $1, '68c1a2b3' || lpad(to_hex($1::bigint), 10, '0') || '9f3a71', 1, $2::text,
    lower($2) || '@example.com'
RETURNING public_id
"""
PLANT_EVENT = """
INSERT INTO event (id, commit_id, subject, type, actor, recorded_at, body)
SELECT coalesce(max(id), 0) + 1, coalesce(max(id), 0) + 1, $1, $2, $3, now(), '{}' FROM event
"""


async def people(pool: Pool) -> dict[str, int]:
    async with pool.connection() as conn:
        row = await conn.fetchrow(PEOPLE)
    assert row is not None
    return dict(row)


def earnest_admin(database: Any, tmp_path: Path, email: str) -> subprocess.Popen[str]:
    """`earnest admin create` of this test's database."""
    environment = os.environ | {
        "EARNEST_DATABASE_URL": database.app_dsn,
        "EARNEST_SECRET_KEY": SECRET_KEY.decode(),
        "EARNEST_DATA_DIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "earnest", "admin", "create", "--json"]
    return subprocess.Popen(
        [*command, "--email", email, "--password", PASSWORD],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# -- made by the operator ---------------------------------------------------------------------


async def test_it_leaves_one_event_that_names_the_account(pool: Pool) -> None:
    olga = await create_admin(pool, "Olga@Example.com", PASSWORD)
    async with pool.connection() as conn:
        (event,) = await conn.fetch(EVENTS)
        (login,) = await conn.fetch("SELECT party_id, created_at, password_hash FROM login")
        assert await conn.fetchval("SELECT xmin FROM login") == await conn.fetchval(
            "SELECT xmin FROM event"
        )
    assert login["party_id"] == key_of(olga)
    assert (event["subject"], event["type"]) == (f"party:{olga}", "admin.created")
    assert (event["actor"], event["recorded_at"]) == ("setup", login["created_at"])
    assert event["id"] == event["commit_id"]
    assert (event["contract_id"], event["seq"], event["hash"]) == (None, None, None)
    assert event["body"] == '{"email":"olga@example.com"}'
    assert PASSWORD not in str(event)
    assert login["password_hash"] not in str(event)


async def test_it_leaves_no_event_for_an_address_that_is_taken(pool: Pool) -> None:
    await create_admin(pool, "olga@example.com", PASSWORD)
    with pytest.raises(Conflict):
        await create_admin(pool, "OLGA@example.com", PASSWORD)
    assert await people(pool) == {"party": 1, "login": 1, "event": 1}


async def test_it_makes_one_of_many_who_are_made_at_once(pool: Pool) -> None:
    made = await asyncio.gather(
        *(create_admin(pool, "olga@example.com", PASSWORD) for _ in range(8)),
        return_exceptions=True,
    )
    assert sorted(type(each).__name__ for each in made) == ["Conflict"] * 7 + ["str"]
    assert await people(pool) == {"party": 1, "login": 1, "event": 1}


async def test_it_leaves_no_event_for_people_who_are_no_admins(pool: Pool) -> None:
    async with pool.connection() as conn, conn.transaction():
        for name, role in (("alice", Role.CLIENT), ("bob", Role.FREELANCER)):
            email = f"{name}@example.com"
            await accounts.create(
                conn, name=name, email=email, email_canonical=email, role=role, password_hash="x"
            )
    assert await people(pool) == {"party": 2, "login": 2, "event": 0}


async def test_it_leaves_nothing_when_it_is_killed_half_way_and_can_be_run_again(
    database: Any, pool: Pool, tmp_path: Path
) -> None:
    """Killed with the account written and the event not yet."""
    holder = await asyncpg.connect(database.superuser_dsn)
    holding = holder.transaction()
    await holding.start()
    await holder.execute("LOCK TABLE event IN SHARE MODE")
    command = earnest_admin(database, tmp_path, "olga@example.com")
    async with asyncio.timeout(30):
        while not await holder.fetchval(IS_WAITING):
            assert command.poll() is None, command.communicate()
            await asyncio.sleep(0.05)
            await holder.execute("SELECT pg_stat_clear_snapshot()")
    command.kill()
    command.communicate()
    await holding.rollback()
    async with asyncio.timeout(30):
        while await holder.fetchval(IS_CONNECTED):  # noqa: ASYNC110  nobody tells us
            await asyncio.sleep(0.05)
    await holder.close()
    assert await people(pool) == {"party": 0, "login": 0, "event": 0}

    again = earnest_admin(database, tmp_path, "olga@example.com")
    said, complaint = await asyncio.to_thread(again.communicate)
    assert (again.returncode, complaint) == (0, "")
    async with pool.connection() as conn:
        (event,) = await conn.fetch(EVENTS)
    assert event["subject"] == f"party:{json.loads(said)['id']}"
    assert (await verify(database.app_dsn)).violation is None

    once_more = earnest_admin(database, tmp_path, "olga@example.com")
    said, complaint = await asyncio.to_thread(once_more.communicate)
    assert (once_more.returncode, said) == (1, "")
    assert "User already exist" in complaint
    assert await people(pool) == {"party": 1, "login": 1, "event": 1}


# -- nobody's role changes --------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE login SET role = 'admin'",
        "UPDATE login SET party_id = party_id + 1",
        (
            "INSERT INTO login (party_id, role, email_canonical, password_hash)"
            " SELECT party_id, role, email_canonical, password_hash FROM login"
            " ON CONFLICT (party_id) DO UPDATE SET role = 'client'"
        ),
    ],
)
@pytest.mark.parametrize("role", ["app_dsn", "owner_dsn", "superuser_dsn"])
async def test_it_refuses_to_change_a_role_whoever_asks(
    database: Any, pool: Pool, role: str, statement: str
) -> None:
    await create_admin(pool, "olga@example.com", PASSWORD)
    conn = await asyncpg.connect(getattr(database, role))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await conn.execute(statement)
    finally:
        await conn.close()


async def test_the_application_can_neither_remove_nor_rename_an_account_but_block_it(
    pool: Pool,
) -> None:
    await create_admin(pool, "olga@example.com", PASSWORD)
    async with pool.connection() as conn:
        for statement in (
            "DELETE FROM login",
            "TRUNCATE login",
            "UPDATE login SET email_canonical = 'oscar@example.com'",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await conn.execute(statement)
        assert await conn.execute("UPDATE login SET status = 'Blocked'") == "UPDATE 1"


# -- what verify sees -------------------------------------------------------------------------


@pytest.fixture
async def attacker(database: Any, pool: Pool) -> AsyncIterator[asyncpg.Connection]:
    """A superuser with the triggers off, in books with Olga, whom the operator made."""
    await create_admin(pool, "olga@example.com", PASSWORD)
    conn = await asyncpg.connect(database.superuser_dsn)
    await conn.execute("SET session_replication_role = replica")
    yield conn
    await conn.close()


async def plant(attacker: asyncpg.Connection, key: int, name: str, actor: str | None) -> str:
    """An admin put in by hand, with an event by `actor`; the public id."""
    public_id = str(await attacker.fetchval(PLANT_PARTY, key, name))
    await attacker.execute(PLANT_ADMIN, key)
    if actor is not None:
        await attacker.execute(PLANT_EVENT, f"party:{public_id}", "admin.created", actor)
    return public_id


async def found_by(attacker: asyncpg.Connection) -> Violation | None:
    """What a full verify finds first, which must be of invariant 26."""
    async with attacker.transaction(isolation="repeatable_read", readonly=True):
        report = await check(attacker)
    assert {violation.invariant for violation in report.violations} <= {26}
    return report.violation


async def test_it_passes_an_admin_that_the_operator_made(attacker: asyncpg.Connection) -> None:
    assert await found_by(attacker) is None
    assert "26" not in NOT_CHECKED


async def test_it_names_an_admin_put_in_by_hand(attacker: asyncpg.Connection) -> None:
    oscar = await plant(attacker, 900_001, "Oscar", None)
    found = await found_by(attacker)
    assert found is not None
    assert (found.table, found.row, found.public_id) == ("login", "900001", oscar)
    assert found.expected == f"an event admin.created of party:{oscar} by setup or an admin"
    assert found.found == "none"


async def test_it_passes_an_admin_made_by_an_admin(attacker: asyncpg.Connection) -> None:
    olga = await attacker.fetchval("SELECT party_id FROM login")
    await plant(attacker, 900_001, "Oscar", f"admin:{olga}")
    await plant(attacker, 900_002, "Otto", "admin:900001")
    assert await found_by(attacker) is None


@pytest.mark.parametrize(
    "actor", ["admin:900001", "admin:900009", "client:1", "system:0", "freelancer:900001", ""]
)
async def test_it_does_not_believe_in_an_admin_made_by(
    attacker: asyncpg.Connection, actor: str
) -> None:
    """By himself, by nobody, or by somebody who may not."""
    await plant(attacker, 900_001, "Oscar", actor)
    found = await found_by(attacker)
    assert found is not None
    assert (found.row, found.found) == ("900001", f"one by {actor}")


async def test_it_does_not_believe_two_admins_who_made_each_other(
    attacker: asyncpg.Connection,
) -> None:
    await plant(attacker, 900_001, "Oscar", "admin:900002")
    await plant(attacker, 900_002, "Otto", "admin:900001")
    found = await found_by(attacker)
    assert found is not None
    assert (found.row, found.found) == ("900001", "one by admin:900002")


async def test_it_sees_an_event_that_is_about_something_else(
    attacker: asyncpg.Connection,
) -> None:
    oscar = await plant(attacker, 900_001, "Oscar", None)
    await attacker.execute(PLANT_EVENT, f"party:{oscar}", "admin.admired", "setup")
    await attacker.execute(PLANT_EVENT, f"contract:{oscar}", "admin.created", "setup")
    found = await found_by(attacker)
    assert found is not None
    assert found.row == "900001"


async def test_it_sees_an_event_that_is_gone(attacker: asyncpg.Connection) -> None:
    await attacker.execute("DELETE FROM event")
    found = await found_by(attacker)
    assert found is not None
    assert (found.table, found.found) == ("login", "none")


async def test_it_sees_a_client_who_became_an_admin(
    attacker: asyncpg.Connection, pool: Pool
) -> None:
    async with pool.connection() as conn, conn.transaction():
        alice = await accounts.create(
            conn,
            name="Alice",
            email="alice@example.com",
            email_canonical="alice@example.com",
            role=Role.CLIENT,
            password_hash="x",
        )
    assert await found_by(attacker) is None
    await attacker.execute("UPDATE login SET role = 'admin' WHERE party_id = $1", key_of(alice))
    found = await found_by(attacker)
    assert found is not None
    assert (found.row, found.public_id) == (str(key_of(alice)), alice)


async def test_it_sees_an_admin_who_became_a_client(attacker: asyncpg.Connection) -> None:
    await attacker.execute("UPDATE login SET role = 'client'")
    found = await found_by(attacker)
    assert found is not None
    assert (found.predicate, found.expected, found.found) == (
        "nobody's role changed",
        "role admin",
        "client",
    )


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("GRANT UPDATE ON login TO earnest_app", "pg_class"),
        ("GRANT UPDATE (role) ON login TO earnest_app", "pg_class"),
        ("GRANT UPDATE (party_id) ON login TO earnest_app", "pg_class"),
        ("GRANT DELETE ON login TO earnest_app", "pg_class"),
        ("GRANT TRUNCATE ON login TO earnest_app", "pg_class"),
        ("ALTER TABLE login DISABLE TRIGGER login_role_fixed", "pg_trigger"),
        ("ALTER TABLE login ENABLE REPLICA TRIGGER login_role_fixed", "pg_trigger"),
        ("DROP TRIGGER login_role_fixed ON login", "pg_trigger"),
        (
            (
                "CREATE OR REPLACE TRIGGER login_role_fixed BEFORE UPDATE OF party_id ON login"
                " EXECUTE FUNCTION refuse_new_role()"
            ),
            "pg_trigger",
        ),
        (
            (
                "CREATE OR REPLACE TRIGGER login_role_fixed AFTER UPDATE OF party_id, role ON login"
                " EXECUTE FUNCTION refuse_new_role()"
            ),
            "pg_trigger",
        ),
        (
            (
                "CREATE OR REPLACE FUNCTION refuse_new_role() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN RETURN NULL; END'"
            ),
            "pg_trigger",
        ),
    ],
)
async def test_it_sees_that_roles_could_be_changed(
    attacker: asyncpg.Connection, statement: str, table: str
) -> None:
    await attacker.execute(statement)
    found = await found_by(attacker)
    assert found is not None
    assert (found.table, found.row) == (table, "login")
    assert found.expected != found.found
