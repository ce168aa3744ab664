"""**Once**: the `Idempotency-Key` header, and carrying a plain-SQL request out at most once.

Scope of a key = (caller, method and route template); its record holds a hash of method, concrete
path, query and raw body, so the same key with anything else is refused.
"""

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

import asyncpg
import msgspec
from litestar import Request, Response

from earnest.actions.core import Core
from earnest.domain.party import Actor
from earnest.errors import InvalidField
from earnest.sealing import Sealer
from earnest.store import idempotency
from earnest.store.accounts import require_active
from earnest.store.idempotency import Once, Reply
from earnest.web.wire import Rendered, encode

HEADER = "Idempotency-Key"
REPLAYED = (b"idempotent-replayed", b"true")
JSON = b"application/json"
_KEY = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


async def once(
    request: Request[Any, Any, Any], actor: Actor, moves_money: bool = False
) -> Once | None:
    """What the caller asked to have done once; None without the header.

    Raises InvalidField for a header that is not 1 to 255 printable ASCII characters, or sent
    twice.
    """
    keys = [value for name, value in request.scope["headers"] if name == b"idempotency-key"]
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise InvalidField(HEADER, "must be 1 to 255 printable ASCII characters")
    scope = request.scope
    digest = hashlib.sha256()
    for part in (
        scope["method"].encode(),
        scope["path"].encode(),
        scope["query_string"],
        await request.body(),
    ):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return Once(
        principal=actor.name,
        route=f"{scope['method']} {scope['path_template']}",
        key=keys[0].decode("ascii"),
        request_hash=digest.digest(),
        moves_money=moves_money,
    )


def keyed(wanted: Once | None, key: bytes) -> Once | None:
    """`wanted` for a body with a secret or an identity in it: its record outlives the request, and
    its hash must not let whoever reads it try out what the body may have said."""
    if wanted is None:
        return None
    hidden = hmac.digest(key, wanted.request_hash, "sha256")
    return msgspec.structs.replace(wanted, request_hash=hidden)


def reply(status: int, body: msgspec.Struct) -> Reply:
    """An answer, rendered."""
    return Reply(status, encode(body))


def respond(reply: Reply) -> Response[Any]:
    """A rendered answer on its way out."""
    headers = (REPLAYED,) if reply.replayed else ()
    return cast("Response[Any]", Rendered(reply.status, JSON, reply.body, *headers))


async def carry_out(
    core: Core,
    caller: Actor,
    wanted: Once | None,
    work: Callable[[asyncpg.Connection], Awaitable[Reply]],
    *,
    seals: Sealer | None = None,
) -> Reply:
    """Run `work` in one database transaction; with a key, at most once and its reply kept.

    A reply that carries a secret `seals`: it is kept sealed, for a day (`store.idempotency`);
    later the key is answered with ReplyGone.

    Raises what `work` raises (then nothing happened), and Unauthenticated or Forbidden for a
    caller whose account is gone or blocked.

    Requests with the same key queue behind a lock that ends with the transaction, so that the
    second one finds the record of the first.
    """
    require_active(await core.loads.account(caller), caller)
    async with core.pool.connection() as conn, conn.transaction():
        if wanted is None:
            return await work(conn)
        await conn.execute(LOCK, int.from_bytes(wanted.scope[:8], "big", signed=True))
        stored = await idempotency.find(conn, wanted, seals)
        if stored is not None:
            return stored
        done = await work(conn)
        await idempotency.keep(conn, wanted, done, sealer=seals)
        return done


LOCK = "SELECT pg_advisory_xact_lock($1)"
