"""Mail: what was queued reaches an SMTP server once, while it is useful, or is put aside."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from litestar import Litestar

from earnest.domain.party import Role
from earnest.settings import Settings
from earnest.store import mail
from earnest.store.db import Pool
from earnest.store.mail import Letter
from earnest.worker.mail import send_due, server_of
from web import Caller, make_settings, sign_up

CODE_LIFE_SECONDS = 5 * 60
HOUR_SECONDS = 3600
REGISTER = {"name": "Carol", "email": "carol@example.com", "role": "client"}
STATES = """
SELECT sent_at IS NOT NULL AS is_sent, failed_at IS NOT NULL AS is_failed, attempts, body, code,
    last_error, extract(epoch FROM due_at - now())::integer AS due_in_seconds
FROM mail
ORDER BY id
"""
DUE_NOW = "UPDATE mail SET due_at = now()"


class Smtp:
    """A mail server that keeps what it gets, refuses recipients and takes its time as told."""

    def __init__(self, refusal: str = "", seconds: float = 0) -> None:
        self.refusal = refusal
        self.seconds = seconds
        self.letters: list[str] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := (await reader.readline()).decode().strip():
            verb = line[:4].upper()
            if verb == "EHLO":
                writer.write(b"250 here\r\n")
            elif verb == "RCPT" and self.refusal:
                writer.write(f"{self.refusal}\r\n".encode())
            elif verb == "DATA":
                writer.write(b"354 go on\r\n")
                self.letters.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                await asyncio.sleep(self.seconds)
                writer.write(b"250 kept\r\n")
            elif verb == "QUIT":
                writer.write(b"221 bye\r\n")
                break
            else:
                writer.write(b"250 ok\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(smtp: Smtp) -> AsyncIterator[str]:
    server = await asyncio.start_server(smtp.talk, "127.0.0.1", 0)
    async with server:
        yield f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def closed_port() -> Iterator[str]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"smtp://127.0.0.1:{held.getsockname()[1]}"


def settings_with(database: Any, url: str, **other: Any) -> Settings:
    return make_settings(database.app_dsn, smtp_url=url, **other)


async def register(api: Caller) -> str:
    """Queue one letter; its code."""
    answer = await api.post("/api/auth/register", json=REGISTER | {"password": "Sun$hine9"})
    assert answer.status_code == 200
    letters = (await api.get("/sandbox/mailbox", params={"to": REGISTER["email"]})).json()
    return str(letters[0]["code"])


async def states(pool: Pool) -> list[dict[str, Any]]:
    async with pool.connection() as conn:
        return [dict(row) for row in await conn.fetch(STATES)]


async def state(pool: Pool) -> dict[str, Any]:
    (only,) = await states(pool)
    return only


async def execute(pool: Pool, statement: str) -> None:
    async with pool.connection() as conn:
        await conn.execute(statement)


async def later(api: Caller, seconds: int) -> None:
    answer = await api.post("/sandbox/clock", json={"advance_seconds": seconds})
    assert answer.status_code == 200


async def test_it_sends_a_letter_once(api: Caller, database: Any, pool: Pool) -> None:
    code = await register(api)
    smtp = Smtp()
    async with listening(smtp) as url:
        tried = await asyncio.gather(
            *(send_due(pool, settings_with(database, url)) for _ in range(8))
        )
    assert sum(tried) == len(smtp.letters) == 1
    assert f"Your code is {code}." in smtp.letters[0]
    assert "To: carol@example.com" in smtp.letters[0]
    assert "From: no-reply@127.0.0.1" in smtp.letters[0]
    assert (await state(pool))["is_sent"]


async def test_it_forgets_what_a_production_server_sent(
    api: Caller, database: Any, pool: Pool
) -> None:
    await register(api)
    async with listening(Smtp()) as url:
        await send_due(pool, settings_with(database, url, env="production"))
    row = await state(pool)
    assert (row["is_sent"], row["body"], row["code"]) == (True, "", None)


async def test_it_tries_again_when_the_server_is_away(
    api: Caller, database: Any, pool: Pool, closed_port: str
) -> None:
    code = await register(api)
    settings = settings_with(database, closed_port)
    assert await send_due(pool, settings) == 1
    row = await state(pool)
    assert (row["is_sent"], row["is_failed"], row["attempts"]) == (False, False, 1)
    assert 25 <= row["due_in_seconds"] <= 30
    assert await send_due(pool, settings) == 0
    for _ in range(5):
        await execute(pool, DUE_NOW)
        assert await send_due(pool, settings) == 1
    row = await state(pool)
    assert (row["is_failed"], row["attempts"], row["code"]) == (True, 6, code)
    await execute(pool, DUE_NOW)
    assert await send_due(pool, settings) == 0


@pytest.mark.parametrize(
    ("refusal", "is_failed"), [("550 no such box", True), ("450 box is busy", False)]
)
async def test_it_believes_a_refusal(
    api: Caller, database: Any, pool: Pool, refusal: str, is_failed: bool
) -> None:
    await register(api)
    async with listening(Smtp(refusal)) as url:
        await send_due(pool, settings_with(database, url))
    row = await state(pool)
    assert (row["is_sent"], row["is_failed"]) == (False, is_failed)


async def test_it_leaves_letters_in_the_mailbox_without_a_server(
    api: Caller, database: Any, pool: Pool
) -> None:
    await register(api)
    assert await send_due(pool, make_settings(database.app_dsn)) == 0
    assert not (await state(pool))["is_sent"]


# -- letters that are useful no more ----------------------------------------------------------


async def test_it_never_sends_a_code_that_expired_before_there_was_a_server(
    api: Caller, database: Any, pool: Pool
) -> None:
    """The mailbox is all there is for a while; then the operator names a mail server."""
    code = await register(api)
    without_server = make_settings(database.app_dsn)
    assert await send_due(pool, without_server) == 0
    await later(api, CODE_LIFE_SECONDS)
    assert await send_due(pool, without_server) == 1
    row = await state(pool)
    assert (row["is_sent"], row["is_failed"], row["attempts"]) == (False, True, 0)
    assert row["last_error"] == "not sent while it was useful"
    letters = (await api.get("/sandbox/mailbox", params={"to": REGISTER["email"]})).json()
    assert [letter["code"] for letter in letters] == [code]
    assert code in letters[0]["text"]

    fresh = await register(api)
    smtp = Smtp()
    async with listening(smtp) as url:
        assert await send_due(pool, settings_with(database, url)) == 1
        assert await send_due(pool, settings_with(database, url)) == 0
    assert [f"Your code is {fresh}." in letter for letter in smtp.letters] == [True]


async def test_it_puts_old_codes_aside_even_if_nobody_did_before_there_was_a_server(
    api: Caller, database: Any, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        await register(api)
    await later(api, CODE_LIFE_SECONDS)
    smtp = Smtp()
    async with listening(smtp) as url:
        with caplog.at_level(logging.WARNING):
            assert await send_due(pool, settings_with(database, url)) == 3
            assert await send_due(pool, settings_with(database, url)) == 0
    assert smtp.letters == []
    assert [row["is_failed"] for row in await states(pool)] == [True] * 3
    assert [record.getMessage() for record in caplog.records] == [
        "letters not sent while they were useful: 3"
    ]


@pytest.mark.parametrize(
    ("age_seconds", "is_sent"), [(CODE_LIFE_SECONDS - 60, True), (CODE_LIFE_SECONDS - 10, False)]
)
async def test_it_sends_a_code_only_if_it_can_still_be_typed(
    api: Caller, database: Any, pool: Pool, age_seconds: int, is_sent: bool
) -> None:
    await register(api)
    await later(api, age_seconds)
    smtp = Smtp()
    async with listening(smtp) as url:
        assert await send_due(pool, settings_with(database, url)) == 1
    row = await state(pool)
    assert (row["is_sent"], row["is_failed"], len(smtp.letters)) == (
        is_sent,
        not is_sent,
        int(is_sent),
    )


async def test_it_loses_nothing_but_the_code_when_the_server_is_down_for_an_hour(
    app: Litestar, api: Caller, database: Any, pool: Pool, closed_port: str
) -> None:
    await register(api)
    await sign_up(app, "Dora", Role.CLIENT)
    dora = REGISTER | {"email": "dora@example.com", "password": "Sun$hine9"}
    assert (await api.post("/api/auth/register", json=dora)).status_code == 200
    assert await send_due(pool, settings_with(database, closed_port)) == 2
    await later(api, HOUR_SECONDS)
    await execute(pool, DUE_NOW)
    smtp = Smtp()
    async with listening(smtp) as url:
        assert await send_due(pool, settings_with(database, url)) == 2
    assert ["You already have an account" in letter for letter in smtp.letters] == [True]
    code, notice = await states(pool)
    assert (code["is_sent"], code["is_failed"]) == (False, True)
    assert (notice["is_sent"], notice["is_failed"]) == (True, False)
    assert code["last_error"].startswith("not sent while it was useful: ConnectionRefusedError")

    answer = await api.post("/api/auth/register", json=dora)
    assert answer.status_code == 200
    await later(api, 24 * HOUR_SECONDS)
    async with listening(smtp) as url:
        assert await send_due(pool, settings_with(database, url)) == 1
    assert len(smtp.letters) == 1


@pytest.mark.parametrize("url", ["", "smtp://127.0.0.1:1"])
async def test_it_forgets_what_a_production_server_could_not_send_in_time(
    api: Caller, database: Any, pool: Pool, url: str
) -> None:
    await register(api)
    await later(api, CODE_LIFE_SECONDS)
    assert await send_due(pool, settings_with(database, url, env="production")) == 1
    row = await state(pool)
    assert (row["is_sent"], row["is_failed"], row["body"], row["code"]) == (False, True, "", None)


async def test_it_does_not_send_what_loses_its_use_while_the_server_is_slow(
    database: Any, pool: Pool
) -> None:
    async with pool.connection() as conn, conn.transaction():
        for name in ("alice", "bob"):
            to = f"{name}@example.com"
            await mail.queue(conn, Letter(to, to, "Hurry", "Now.", useful_seconds=2))
    smtp = Smtp(seconds=2.5)
    async with listening(smtp) as url:
        assert await send_due(pool, settings_with(database, url)) == 2
    assert len(smtp.letters) == 1
    rows = await states(pool)
    assert sorted((row["is_sent"], row["is_failed"]) for row in rows) == [
        (False, True),
        (True, False),
    ]


async def test_it_leaves_a_letter_alone_that_another_worker_is_sending(
    api: Caller, database: Any, pool: Pool
) -> None:
    await register(api)
    async with pool.connection() as conn:
        (leased,) = await mail.lease(conn)
    await later(api, CODE_LIFE_SECONDS)
    assert await send_due(pool, make_settings(database.app_dsn)) == 0
    async with pool.connection() as conn:
        await mail.sent(conn, leased.key, forget=False)
    row = await state(pool)
    assert (row["is_sent"], row["is_failed"]) == (True, False)


async def test_it_believes_a_worker_that_reports_late(
    api: Caller, database: Any, pool: Pool
) -> None:
    """The lease was over and the letter put aside, but the mail server had it."""
    await register(api)
    async with pool.connection() as conn:
        (leased,) = await mail.lease(conn)
    await later(api, CODE_LIFE_SECONDS)
    await execute(pool, DUE_NOW)
    assert await send_due(pool, make_settings(database.app_dsn)) == 1
    async with pool.connection() as conn:
        await mail.sent(conn, leased.key, forget=False)
    row = await state(pool)
    assert (row["is_sent"], row["is_failed"]) == (True, False)


def test_it_reads_the_url() -> None:
    settings = make_settings("", smtp_url="smtps://me%40example.com:p%2Fw@mail.example.com")
    server = server_of(settings)
    assert server is not None
    assert (server.host, server.port, server.is_tls) == ("mail.example.com", 465, True)
    assert (server.user, server.password) == ("me@example.com", "p/w")
    assert server.sender == "me@example.com"
    settings = make_settings("", smtp_url="smtp://mail.example.com?from=pay%40example.com")
    server = server_of(settings)
    assert server is not None
    assert (server.port, server.sender) == (587, "pay@example.com")
