"""What Earnest is compared with does the same work, and does it right.

`make bench` installs it; where that has not run, most of this is skipped.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest
from bench import peer, report
from bench.books import BooksAreWrong
from bench.peer_fastapi import Reference
from bench.peer_hordak import Hordak
from bench.peers import BUDGETS, Peers
from bench.report import Figure

from conftest import Server, TestDatabase
from earnest.marketplace.documents import EscrowDocument
from earnest.store.db import Pool

installed = pytest.mark.skipif(bool(peer.why_absent()), reason=f"no peers: {peer.why_absent()}")
PUT = "/api/admin/escrow/release-fund/"


@pytest.fixture
async def reference(empty_database: TestDatabase) -> AsyncIterator[Reference]:
    """The FastAPI service, serving; six of its contracts are released."""
    made = Reference(empty_database.owner_dsn)
    await made.prepare(60)
    try:
        await made.start(2, pools=(4,))
        yield made
    finally:
        made.close()


@pytest.fixture
async def http(reference: Reference) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {reference.tokens.admin}"}
    url = f"http://127.0.0.1:{reference.port}"
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        yield client


def contract(number: int) -> str:
    return f"{PUT}{number:024x}"


# -- the FastAPI service ----------------------------------------------------------------------


@installed
async def test_it_answers_as_ours_does(http: httpx.AsyncClient) -> None:
    answer = await http.put(contract(50))
    assert answer.status_code == 200
    said = answer.json()
    assert said["message"] == "Fund has been released"
    fields = {field.encode_name for field in msgspec.structs.fields(EscrowDocument)}
    assert said["data"].keys() == fields
    assert (said["data"]["amount"], said["data"]["platformFee"]) == (100, 10)


@installed
async def test_it_releases_once_however_often_it_is_asked(
    reference: Reference, http: httpx.AsyncClient
) -> None:
    key = {"Idempotency-Key": "again"}
    first = await http.put(contract(50), headers=key)
    assert first.status_code == 200
    repeated = await asyncio.gather(*(http.put(contract(50), headers=key) for _ in range(8)))
    assert {answer.content for answer in repeated} == {first.content}
    assert (await http.put(contract(50))).status_code == 409
    assert (await http.put(contract(51), headers=key)).status_code == 422

    racing = [http.put(contract(52), headers={"Idempotency-Key": f"race-{n}"}) for n in range(16)]
    codes = sorted(answer.status_code for answer in await asyncio.gather(*racing))
    assert codes == [200, *[409] * 15]
    one_key = [http.put(contract(53), headers={"Idempotency-Key": "one"}) for _ in range(16)]
    answers = await asyncio.gather(*one_key)
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (200, answers[0].content)
    }
    reference.released += 3
    await reference.check()


@installed
async def test_it_refuses_whoever_may_not_release(
    reference: Reference, http: httpx.AsyncClient
) -> None:
    client = {"Authorization": f"Bearer {reference.tokens.client}"}
    assert (await http.put(contract(50), headers=client)).status_code == 403
    for bad in ("", "Bearer", f"Bearer {reference.tokens.admin[:-3]}AAA", "Basic b2xnYTo="):
        refused = await http.put(contract(50), headers={"Authorization": bad})
        assert refused.status_code == 401, bad
    assert (await http.put(contract(61))).status_code == 404
    await reference.check()


DAMAGE = {
    "a balance that was changed": "UPDATE account SET balance_minor = 7 WHERE kind = 'wallet'",
    "a transfer that is missing": "DELETE FROM transfer WHERE id = (SELECT max(id) FROM transfer)",
    "a transfer of another amount": "UPDATE transfer SET amount_minor = amount_minor + 1",
    "an event that is missing": "DELETE FROM event WHERE sequence = 2",
    "a contract that says it is released": "UPDATE contract SET status = 'released'",
    "a reply that is missing": "DELETE FROM idempotency_key",
}


@installed
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
async def test_its_books_are_not_right_with(reference: Reference, damage: str) -> None:
    await reference.check()
    assert not (await _execute(reference.dsn, damage)).endswith(" 0")
    with pytest.raises(BooksAreWrong, match="of the FastAPI service"):
        await reference.check()


# -- django-hordak ----------------------------------------------------------------------------


@installed
async def test_hordak_is_asked_for_its_balances_after_every_round(
    empty_database: TestDatabase, server: Server
) -> None:
    hordak = Hordak(empty_database.owner_dsn)
    await hordak.prepare()
    try:
        assert await hordak.start(16) in {1, 2, 4, 8}
        assert await hordak.transfer(16) > 0
        server.execute(
            "SET session_replication_role = replica;"  # past the triggers
            " UPDATE hordak_leg SET debit = debit + 1 WHERE debit IS NOT NULL",
            empty_database.name,
        )
        with pytest.raises(BooksAreWrong, match=r"of django-hordak: Account \d+ has"):
            await hordak.transfer(16)
    finally:
        await hordak.close()


async def _execute(dsn: str, statement: str) -> str:
    conn = await asyncpg.connect(dsn)
    try:
        return await conn.execute(statement)
    finally:
        await conn.close()


# -- without them -----------------------------------------------------------------------------


async def test_without_them_it_says_why_and_measures_the_rest(
    pool: Pool, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "VENV", tmp_path)
    assert peer.why_absent() == "make bench installs them"
    (tmp_path / "pip.log").write_text("WARNING: Retrying\nERROR: No matching distribution found\n")

    said: list[str] = []
    figures = await Peers(pool, server.embedded, rounds=3, count=1_920).run(said.append)
    why = "pip could not install them: ERROR: No matching distribution found"
    assert said == [f"no peers: {why}"]
    assert [figure.name for figure in figures] == [*BUDGETS]
    assert not any(figure.missed for figure in figures)

    rest = Figure("view_contract_to_pgbench", [0.2], 0.15, 0.3)
    on = report.machine("18.6", [0.0], {}, {})
    report.write([rest, *figures], on, tmp_path)
    results = msgspec.json.decode((tmp_path / "results.json").read_bytes())
    assert [result["name"] for result in results] == ["view_contract_to_pgbench"]
    where = msgspec.json.decode((tmp_path / "machine.json").read_bytes())
    assert where["not_measured"] == dict.fromkeys(BUDGETS, why)
    row = f"| release_to_fastapi | - | - | 8.0 | 15.0 | not measured: {why} |"
    assert row in report.table([rest, *figures], on).splitlines()
