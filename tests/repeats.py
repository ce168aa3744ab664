"""Requests with an Idempotency-Key, to be sent again and again.

    first = await releasing(life).send()
    same(first, await releasing(life).send())

RECORDS reads what the server keeps of them.
"""

from typing import Any

import httpx
import msgspec

from life import Life
from web import Caller

REPLAYED = "idempotent-replayed"
RECORDS = "SELECT route, moves_money FROM idempotency_key ORDER BY created_at, route"


class Request(msgspec.Struct, frozen=True):
    """One request with a key, to be sent again and again."""

    who: Caller
    method: str
    url: str
    json: Any = None
    key: str = "the key"

    async def send(self, **other: Any) -> httpx.Response:
        """Send it, with `other` parts."""
        changed = msgspec.structs.replace(self, **other)
        return await changed.who.request(
            changed.method,
            changed.url,
            content=None if changed.json is None else msgspec.json.encode(changed.json),
            headers={"Content-Type": "application/json", "Idempotency-Key": changed.key},
        )


def same(first: httpx.Response, again: httpx.Response) -> None:
    """`again` is the stored answer `first`, byte for byte."""
    assert first.is_success, first.text
    assert REPLAYED not in first.headers
    assert again.headers[REPLAYED] == "true"
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["content-type"] == first.headers["content-type"]


def of_job(life: Life, verb: str) -> str:
    return f"/api/client/{verb}/{life.job}"


def creating(life: Life) -> Request:
    body = {"freelancerId": life.cast.bob.id, "amount": 12000}
    return Request(life.cast.alice, "POST", of_job(life, "create-contract"), body)


def paying(life: Life) -> Request:
    body = {"freelancerId": life.cast.bob.id, "title": "x", "rate": 1}
    return Request(life.cast.alice, "POST", of_job(life, "job/payment"), body)


def releasing(life: Life) -> Request:
    return Request(life.cast.olga, "PUT", f"/api/admin/escrow/release-fund/{life.contract}")


def refunding(life: Life) -> Request:
    who = f"{life.contract}/{life.cast.alice.id}"
    return Request(life.cast.olga, "PUT", f"/api/admin/escrow/refund-client/{who}")
