"""The keys that sign for partners: made once, rotated, sealed, published, deleted."""

import asyncio
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from litestar import Litestar

from earnest.errors import InvalidToken
from earnest.partner import signing, tokens
from earnest.partner.signing import SigningKeys
from earnest.partner.tokens import PartnerTokens
from earnest.store import signing_keys
from earnest.store.db import Pool
from partners import Broker
from test_partner_tokens import FOREIGN, ISSUER, own_key, parts_of, signed, tokens_of

SHIFT = """
UPDATE signing_key SET
    created_at = created_at - make_interval(secs => $1),
    retires_at = retires_at - make_interval(secs => $1),
    expires_at = expires_at - make_interval(secs => $1)
"""
KEYS = "SELECT kid FROM signing_key ORDER BY retires_at"


@pytest.fixture
async def owner(database: Any) -> Any:
    made = Pool(database.owner_dsn)
    yield made
    await made.close()


async def shift(owner: Pool, seconds: float) -> None:
    """As if all keys had been made so much earlier."""
    async with owner.connection() as conn:
        await conn.execute(SHIFT, seconds)


async def kids(pool: Pool) -> list[str]:
    async with pool.connection() as conn:
        return [row["kid"] for row in await conn.fetch(KEYS)]


def fresh(app: Litestar) -> SigningKeys:
    """The keys as a process sees them that has just started."""
    return SigningKeys(app.state.pool, app.state.sealer)


async def test_processes_that_need_a_key_at_once_make_one(app: Litestar, pool: Pool) -> None:
    signers = await asyncio.gather(*(fresh(app).signer() for _ in range(8)))
    assert len({key.kid for key in signers}) == 1
    assert len(await kids(pool)) == 1


async def test_tomorrows_key_is_published_a_day_before_its_turn(
    app: Litestar, broker: Broker, pool: Pool, owner: Pool
) -> None:
    [first] = await kids(pool)
    assert await fresh(app).rotate() == 0
    assert await kids(pool) == [first]
    await shift(owner, signing.SIGNS_SECONDS - signing.READY_SECONDS + 60)
    await asyncio.gather(*(fresh(app).rotate() for _ in range(4)))
    assert len(await kids(pool)) == 2
    keys = fresh(app)
    assert (await keys.signer()).kid == first
    assert {key.kid for key in await keys.published()} == set(await kids(pool))
    await shift(owner, signing.READY_SECONDS)
    keys = fresh(app)
    second = await keys.signer()
    assert second.kid == (await kids(pool))[1]
    # The first signs no more, and verifies on.
    assert (await keys.find(first)) is not None
    again = PartnerTokens(pool, app.state.sealer, ISSUER)
    assert (await again.read(broker.token)).key == broker.key
    assert (second.retires_at - time.time()) == pytest.approx(signing.SIGNS_SECONDS, abs=120)


async def test_a_key_that_is_over_verifies_nothing_and_is_deleted(
    app: Litestar, broker: Broker, pool: Pool, owner: Pool
) -> None:
    [first] = await kids(pool)
    await shift(owner, signing.SIGNS_SECONDS + signing.SIGNED_LIVES_SECONDS + 1)
    keys = fresh(app)
    assert await keys.find(first) is None
    with pytest.raises(InvalidToken):
        await PartnerTokens(pool, app.state.sealer, ISSUER).read(broker.token)
    assert await keys.rotate() == 1
    assert await kids(pool) == []
    assert (await keys.signer()).kid != first


async def test_a_key_lives_longer_than_what_it_signed_last(app: Litestar) -> None:
    key = await own_key(app)
    assert key.expires_at - key.retires_at >= tokens.TOKEN_SECONDS
    assert key.retires_at - time.time() == pytest.approx(signing.SIGNS_SECONDS, abs=120)


async def test_a_deleted_key_verifies_nothing_after_a_minute(
    app: Litestar, broker: Broker, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How an operator ends a key that was stolen."""
    async with pool.connection() as conn:
        await conn.execute("DELETE FROM signing_key")
    assert (await tokens_of(app).read(broker.token)).key == broker.key
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + signing.RELOAD_SECONDS + 1)
    with pytest.raises(InvalidToken):
        await tokens_of(app).read(broker.token)


async def test_a_key_that_somebody_put_into_the_database_signs_and_verifies_nothing(
    app: Litestar, broker: Broker, pool: Pool
) -> None:
    der = FOREIGN.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    kid = signing._jwk(FOREIGN).kid
    async with pool.connection() as conn:
        sealed = await conn.fetchval("SELECT private_key FROM signing_key")
        for name, private in ((kid, der), ("A" * 43, sealed)):
            await conn.execute(
                "INSERT INTO signing_key VALUES"
                " ($1, $2, now(), now() + interval '1 day', now() + interval '2 days')",
                name,
                private,
            )
    keys = fresh(app)
    assert [key.kid for key in await keys.published()] == [(await own_key(app)).kid]
    header, claims = parts_of(broker.token)
    with pytest.raises(InvalidToken):
        await PartnerTokens(pool, app.state.sealer, ISSUER).read(
            signed(header | {"kid": kid}, claims, FOREIGN)
        )


async def test_the_private_half_is_sealed(app: Litestar, pool: Pool) -> None:
    key = await own_key(app)
    plain = key.private.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    async with pool.connection() as conn:
        sealed = await conn.fetchval("SELECT private_key FROM signing_key")
    assert app.state.sealer.open(sealed, f"signing-key:{key.kid}") == plain
    assert plain[:64] not in sealed
    assert all(plain[at : at + 32] not in sealed for at in range(len(plain) - 32))


async def test_unknown_keys_do_not_make_it_ask_the_database_each_time(
    app: Litestar, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    real = signing_keys.live

    async def counting(conn: Any) -> Any:
        nonlocal asked
        asked += 1
        return await real(conn)

    monkeypatch.setattr(signing_keys, "live", counting)
    later = time.monotonic() + signing.ASK_AGAIN_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    header, claims = parts_of(broker.token)
    for number in range(50):
        forgery = signed(header | {"kid": f"{number:043}"}, claims, FOREIGN)
        with pytest.raises(InvalidToken):
            await tokens_of(app).read(forgery)
    assert asked == 1


async def test_a_key_of_another_process_is_found(app: Litestar, pool: Pool) -> None:
    """This process has looked and found none; another one makes the first."""
    here = fresh(app)
    assert await here.find("A" * 43) is None
    made = await fresh(app).signer()
    here._loaded_at -= signing.ASK_AGAIN_SECONDS
    found = await here.find(made.kid)
    assert found is not None
    assert found.kid == made.kid
