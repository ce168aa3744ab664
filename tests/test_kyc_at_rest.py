"""What Omar says of himself: readable by nobody who reads the database, the logs or an answer.

Every value is a canary that occurs nowhere else. The whole database is dumped, everything that is
logged is kept, and so is every answer that was given on the way.
"""

import asyncio
import hashlib
import re
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar

from conftest import TestDatabase
from earnest.sealing import SealBroken, Sealer
from earnest.store import binaries, kyc, parties
from earnest.store.db import Pool
from partners import Broker
from people import OMAR, Visit
from test_envelope import written
from web import Caller, make_settings

__all__ = ["written"]

TOLD = {
    "nationalId": "1047382915",
    "iBAN": "SA4420000001234567891234",
    "bIC": "KANASARI",
    "dateOfBirth": "1903-02-01",
}
PERSON = {
    "first_name": "Kanarienvogel",
    "last_name": "Zwitscher",
    "national_id": "2059381726",
    "born": "1904-11-23",
}
BANK_ACCOUNT = {"iban": "SA0380000000608010167519", "bic": "VOGESARI"}
ANSWERS = {"has_regular_income": "no", "is_employed": "no", "has_income_from_abroad": "yes"}
CANARIES = [*TOLD.values(), *PERSON.values(), *BANK_ACCOUNT.values(), "0380000000608010167519"]
PERSONAL = ("national_id", "date_of_birth", "first_name", "last_name", "iban", "bic", "answers")


class Told(httpx.AsyncBaseTransport):
    """Keeps what a client is answered."""

    def __init__(self, inner: httpx.AsyncBaseTransport, kept: list[str]) -> None:
        self._inner = inner
        self._kept = kept

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        await answer.aread()
        self._kept.append(f"{answer.headers}\n{answer.text}")
        return answer


@pytest.fixture
def settings(database: TestDatabase) -> Any:
    """Every request is logged."""
    return make_settings(database.app_dsn, log_requests=True)


@pytest.fixture
async def answers(broker: Broker, api: Caller) -> list[str]:
    """Everything that the partner and Omar are answered."""
    kept: list[str] = []
    for client in (broker.client, api):
        client._transport = Told(client._transport, kept)
    return kept


async def live(broker: Broker, browser: Caller) -> Visit:
    """Omar is told of, mistypes, and comes to the end."""
    headers = {"Idempotency-Key": "omar"}
    broker.client.headers.update(headers)
    visit = await Visit.begin(broker, browser, **TOLD)
    wrong = OMAR | TOLD
    for field, value in TOLD.items():
        sent = wrong | {field: f"{value}?"}
        assert (await broker.client.post("/apps/api/user", json=sent)).status_code in (400, 422)
    del broker.client.headers["Idempotency-Key"]
    for field, value in TOLD.items():
        sent = wrong | {field: f"{value}?"}
        assert (await broker.client.post("/apps/api/user", json=sent)).status_code == 400
    assert (await visit.send(PERSON | {"national_id": "9059381726"})).status_code == 400
    assert (await visit.send(PERSON)).status_code == 303
    assert (await visit.send(ANSWERS)).status_code == 303
    assert (await visit.send({"code": await visit.code()})).status_code == 303
    assert (await visit.look()).status_code == 200
    assert (await visit.send(BANK_ACCOUNT | {"bic": "VOGE"})).status_code == 400
    assert (await visit.send(BANK_ACCOUNT)).status_code == 303
    assert (await visit.look()).status_code == 200
    assert (await visit.standing())["kycCompleted"]
    return visit


def found(text: str) -> list[str]:
    """Which canaries stand in a text, plain or in the encodings that rows and logs use."""
    forms = {one: (one, one.encode().hex(), b64encode(one.encode()).decode()) for one in CANARIES}
    return [one for one, ways in forms.items() if any(way in text for way in ways)]


def dumped(database: TestDatabase) -> str:
    """All rows of all tables, as SQL."""
    command: list[str | Path] = [binaries.program("pg_dump"), "--inserts", database.superuser_dsn]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


async def test_no_value_can_be_read_in_database_logs_or_answers(
    broker: Broker,
    api: Caller,
    answers: list[str],
    database: TestDatabase,
    written: Any,
) -> None:
    await live(broker, api)
    dump = await asyncio.to_thread(dumped, database)
    assert "966500000002" in dump, "or nothing would be found"
    assert re.search(r"INSERT INTO public\.kyc VALUES \([0-9]+, '\\x01", dump)
    assert found(dump) == []

    log = written.getvalue().decode()
    assert "/onboarding" in log
    assert "/apps/api/user" in log
    assert found(log) == []

    assert len(answers) > 15
    # A name is theirs to correct, and a BIC names a bank; nothing else is sent back.
    spoken = {PERSON["first_name"], PERSON["last_name"], TOLD["bIC"]}
    assert {one for answer in answers for one in found(answer)} <= spoken


async def test_the_record_of_a_key_lets_nobody_try_numbers_on_it(
    broker: Broker, app: Litestar
) -> None:
    sent = OMAR | TOLD
    made = await broker.client.post("/apps/api/user", json=sent, headers={"Idempotency-Key": "1"})
    plain = hashlib.sha256()
    for part in (b"POST", b"/apps/api/user", b"", made.request.content):
        plain.update(len(part).to_bytes(8, "big") + part)
    pool: Pool = app.state.pool
    async with pool.connection() as conn:
        (kept,) = await conn.fetch("SELECT request_hash FROM idempotency_key")
    assert kept["request_hash"] != plain.digest()


async def test_a_value_opens_only_where_it_stands_and_with_our_key(
    broker: Broker, api: Caller, app: Litestar
) -> None:
    await live(broker, api)
    pool: Pool = app.state.pool
    sealer: Sealer = app.state.sealer
    async with pool.connection() as conn:
        member = await parties.find_by_phone(conn, broker.key, "966500000002")
        assert member is not None
        known = await kyc.known(conn, sealer, member.key)
        assert (known.national_id, known.first_name) == (PERSON["national_id"], "Kanarienvogel")
        assert (known.iban, known.bic) == (BANK_ACCOUNT["iban"], BANK_ACCOUNT["bic"])
        assert str(known.born) == PERSON["born"]
        assert known.answers["has_income_from_abroad"] is True
        with pytest.raises(SealBroken):
            await kyc.known(conn, Sealer(b"x" * 32), member.key)
        row = await conn.fetchrow("SELECT * FROM kyc WHERE party_id = $1", member.key)
        assert row is not None
        assert all(isinstance(row[column], bytes) for column in PERSONAL)
        assert len({row[column] for column in PERSONAL}) == len(PERSONAL)
        await conn.execute("UPDATE kyc SET iban = bic WHERE party_id = $1", member.key)
        with pytest.raises(SealBroken):
            await kyc.known(conn, sealer, member.key)


async def test_nobody_becomes_somebody_else_by_copied_rows(
    broker: Broker, api: Caller, app: Litestar
) -> None:
    await live(broker, api)
    other = await Visit.begin(broker, api, phoneNumber="966500000009", nationalId="1000000001")
    pool: Pool = app.state.pool
    async with pool.connection() as conn:
        mallory = await parties.find_by_phone(conn, broker.key, other.phone)
        assert mallory is not None
        await conn.execute(
            "UPDATE kyc SET national_id = (SELECT national_id FROM kyc WHERE party_id <> $1)"
            " WHERE party_id = $1",
            mallory.key,
        )
        with pytest.raises(SealBroken):
            await kyc.known(conn, app.state.sealer, mallory.key)


async def test_the_database_itself_keeps_the_order_of_the_steps(
    broker: Broker, api: Caller, app: Litestar
) -> None:
    await Visit.begin(broker, api, **TOLD)
    pool: Pool = app.state.pool
    async with pool.connection() as conn:
        for column in ("answered_at", "verified_at", "bank_account_at", "completed_at"):
            with pytest.raises(asyncpg.CheckViolationError):
                await conn.execute(SET[column])


SET = {
    "answered_at": "UPDATE kyc SET answered_at = now()",
    "verified_at": "UPDATE kyc SET verified_at = now()",
    "bank_account_at": "UPDATE kyc SET bank_account_at = now()",
    "completed_at": "UPDATE kyc SET completed_at = now()",
}
