"""Mail: what was queued reaches an SMTP server once, and comes back if the server was not."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from earnest.settings import Settings
from earnest.store.db import Pool
from earnest.worker.mail import send_due, server_of
from web import Caller, make_settings

REGISTER = {"name": "Carol", "email": "carol@example.com", "role": "client"}
STATES = """
SELECT sent_at IS NOT NULL AS is_sent, failed_at IS NOT NULL AS is_failed, attempts, body, code,
    extract(epoch FROM due_at - now())::integer AS due_in_seconds
FROM mail
"""


class Smtp:
    """A mail server that keeps what it gets and refuses recipients as told."""

    def __init__(self, refusal: str = "") -> None:
        self.refusal = refusal
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


async def state(pool: Pool) -> dict[str, Any]:
    async with pool.connection() as conn:
        rows = await conn.fetch(STATES)
    assert len(rows) == 1
    return dict(rows[0])


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
    await register(api)
    settings = settings_with(database, closed_port)
    assert await send_due(pool, settings) == 1
    row = await state(pool)
    assert (row["is_sent"], row["is_failed"], row["attempts"]) == (False, False, 1)
    assert 25 <= row["due_in_seconds"] <= 30
    assert await send_due(pool, settings) == 0
    for _ in range(5):
        async with pool.connection() as conn:
            await conn.execute("UPDATE mail SET due_at = now()")
        assert await send_due(pool, settings) == 1
    row = await state(pool)
    assert (row["is_failed"], row["attempts"], row["code"]) == (True, 6, None)


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
