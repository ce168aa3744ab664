"""`POST /connect/token` (partner spec 2; RFC 6749, section 4.4): abuse case 109 and its kin."""

import asyncio
import base64
import json
from typing import Any
from urllib.parse import urlencode

import httpx
import jwt
import pytest
from litestar import Litestar

from digest import doors
from earnest.store import businesses, limits
from earnest.store.db import Pool
from earnest.store.limits import CLIENT, CLIENT_ADDRESS, CLIENT_TOKEN
from partners import TOKEN, Broker, make_broker
from web import INSIDES, Caller, Cast, caller

FORM = {"content-type": "application/x-www-form-urlencoded"}


def refused(answer: httpx.Response, status: int, error: str) -> str:
    """The description of a refusal, which must have the shape of RFC 6749, section 5.2."""
    assert answer.status_code == status, answer.text
    assert not INSIDES.search(answer.text)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert list(answer.json()) == ["error", "error_description"]
    assert answer.json()["error"] == error, answer.text
    challenge = answer.headers.get("www-authenticate", "")
    assert challenge.startswith("Basic ") == (status == 401)
    description = str(answer.json()["error_description"])
    # The characters that the RFC allows there.
    assert all(0x20 <= ord(one) <= 0x7E and one not in '"\\' for one in description)
    return description


def basic(client_id: str, secret: str) -> dict[str, str]:
    both = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
    return {"authorization": f"Basic {both}"}


def granted(answer: httpx.Response) -> str:
    """The token of an answer that must be a success."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    body: dict[str, Any] = answer.json()
    assert list(body) == ["access_token", "token_type", "expires_in"]
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 1440)
    return str(body["access_token"])


# -- what it gives ----------------------------------------------------------------------------


async def test_it_gives_a_token_for_a_day_to_who_knows_the_secret(broker: Broker) -> None:
    token = granted(await broker.ask_token())
    said = jwt.decode(token, options={"verify_signature": False})
    assert said["exp"] - said["iat"] == 24 * 3600
    assert said["sub"] == said["client_id"] == broker.client_id
    assert granted(await broker.ask_token()) != token


async def test_it_takes_the_secret_in_the_form_or_in_basic(broker: Broker, api: Caller) -> None:
    grant = {"grant_type": "client_credentials"}
    headers = basic(broker.client_id, broker.secret)
    granted(await api.post(TOKEN, data=grant, headers=headers))
    granted(await api.post(TOKEN, data=grant | {"client_id": broker.client_id}, headers=headers))
    # Form-encoded within Basic (section 2.3.1), and the scheme in any case.
    encoded = broker.client_id.replace("_", "%5F")
    both = base64.b64encode(f"{encoded}:{broker.secret}".encode()).decode()
    granted(await api.post(TOKEN, data=grant, headers={"authorization": f"bAsIc {both}"}))


async def test_it_reads_the_form_as_libraries_write_it(broker: Broker, api: Caller) -> None:
    right = broker.form()
    for kind in (
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=utf-8",
        'Application/X-WWW-Form-URLEncoded;charset="UTF-8"',
    ):
        answer = await api.post(TOKEN, content=urlencode(right), headers={"content-type": kind})
        granted(answer)
    for more in ({"scope": ""}, {"scope": "escrow"}, {"resource": "https://x.example"}):
        granted(await broker.ask_token(**more))


async def test_it_asks_for_nothing_else(broker: Broker, api: Caller) -> None:
    """The guide's own cURL: no Accept, no Idempotency-Key, whatever else is sent along."""
    headers = {"accept": "text/html", "idempotency-key": "k", "cookie": "refreshToken=x"}
    first = granted(await api.post(TOKEN, data=broker.form(), headers=headers))
    assert granted(await api.post(TOKEN, data=broker.form(), headers=headers)) != first


# -- what it refuses --------------------------------------------------------------------------


@pytest.mark.abuse(109)
async def test_it_refuses_wrong_credentials_in_one_way(
    broker: Broker, rival: Broker, pool: Pool
) -> None:
    before = await doors(pool)
    said = set()
    for change in (
        {"client_secret": broker.secret[:-1]},
        {"client_secret": broker.secret + "A"},
        {"client_secret": broker.secret.swapcase()},
        {"client_secret": rival.secret},
        {"client_secret": "x"},
        {"client_secret": "\x00"},
        {"client_secret": "es_" + "é" * 43},
        {"client_secret": broker.client_id},
        {"client_secret": "' OR 1=1 --"},
        {"client_secret": f" {broker.secret}"},
        {"client_secret": "x" * 5_000},
        {"client_id": rival.client_id},
        {"client_id": broker.client_id.upper()},
        {"client_id": broker.client_id[:-1]},
        {"client_id": f"{broker.client_id} "},
        {"client_id": "ec_" + "0" * 24},
        {"client_id": "%"},
        {"client_id": str(broker.business_id)},
        {"client_id": "ec_\x00"},
    ):
        said.add(refused(await broker.ask_token(**change), 401, "invalid_client"))
    assert len(said) == 1
    assert await doors(pool) == before
    granted(await broker.ask_token())


async def test_the_same_wrong_secret_costs_the_same_whoever_it_is_for(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement and one hash, for an unknown client as for a known one."""
    hashed: list[str] = []
    real = businesses._hash

    def counting(secret: str) -> bytes:
        hashed.append(secret)
        return real(secret)

    monkeypatch.setattr(businesses, "_hash", counting)
    for client_id in (broker.client_id, "ec_" + "0" * 24):
        hashed.clear()
        await broker.ask_token(client_id=client_id, client_secret="wrong")
        assert hashed == ["wrong"]


@pytest.mark.abuse(109)
@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "authorization_code"}, 400, "unsupported_grant_type"),
        ({"grant_type": "refresh_token"}, 400, "unsupported_grant_type"),
        ({"grant_type": "Client_Credentials"}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials "}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"client_id": ""}, 400, "invalid_request"),
        ({"client_secret": ""}, 400, "invalid_request"),
        ({"scope": "admin"}, 400, "invalid_scope"),
        ({"scope": "escrow admin"}, 400, "invalid_scope"),
        ({"scope": "*"}, 400, "invalid_scope"),
        ({"scope": " "}, 400, "invalid_scope"),
    ],
)
async def test_it_refuses_what_is_not_the_grant(
    broker: Broker, pool: Pool, change: dict[str, str], status: int, error: str
) -> None:
    before = await doors(pool)
    refused(await broker.ask_token(**change), status, error)
    assert await doors(pool) == before


@pytest.mark.abuse(109)
async def test_it_refuses_forms_that_are_none(broker: Broker, api: Caller, pool: Pool) -> None:
    right = urlencode(broker.form())
    before = await doors(pool)
    for name in broker.form():
        left = {key: value for key, value in broker.form().items() if key != name}
        said = refused(await api.post(TOKEN, data=left), 400, "invalid_request")
        assert name in said
    for body in (
        b"",
        f"{right}&grant_type=client_credentials".encode(),
        f"{right}&client_secret={broker.secret}".encode(),
        f"{right}&x=1&x=2".encode(),
        f"{right}&x".encode(),
        f"{right}&&".encode(),
        f"{right};x=1".encode() + b"\xff",
        f"{right}&x=%ff".encode(),
        b"&".join([right.encode(), *(b"x%d=1" % number for number in range(40))]),
        json.dumps(broker.form()).encode(),
    ):
        refused(await api.post(TOKEN, content=body, headers=FORM), 400, "invalid_request")
    for headers in (
        {},
        {"content-type": "application/json"},
        {"content-type": "text/plain"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/x-www-form-urlencoded; charset=utf-16"},
        FORM | {"content-encoding": "gzip"},
    ):
        answer = await api.post(TOKEN, content=right.encode(), headers=headers)
        refused(answer, 400, "invalid_request")
    doubled = [("content-type", FORM["content-type"])] * 2
    answer = await api.post(TOKEN, content=right.encode(), headers=doubled)
    refused(answer, 400, "invalid_request")
    for size in (9_000, 60_000, 70_000):
        body = f"{right}&x={'x' * size}".encode()
        refused(await api.post(TOKEN, content=body, headers=FORM), 413, "invalid_request")
    assert await doors(pool) == before


@pytest.mark.abuse(109)
async def test_it_takes_no_secret_from_the_url(broker: Broker, api: Caller, pool: Pool) -> None:
    before = await doors(pool)
    query = urlencode(broker.form())
    for url, body in ((f"{TOKEN}?{query}", {}), (f"{TOKEN}?x=1", broker.form())):
        said = refused(await api.post(url, data=body), 400, "invalid_request")
        assert "URL" in said
        assert broker.secret not in said
    answer = await api.get(f"{TOKEN}?{query}")
    refused(answer, 405, "invalid_request")
    assert await doors(pool) == before


@pytest.mark.abuse(109)
async def test_it_takes_one_way_to_say_the_secret(
    broker: Broker, rival: Broker, api: Caller, pool: Pool
) -> None:
    before = await doors(pool)
    own, grant = basic(broker.client_id, broker.secret), {"grant_type": "client_credentials"}
    for headers, body, status, error in (
        (own, broker.form(), 400, "invalid_request"),
        (own, grant | {"client_secret": broker.secret}, 400, "invalid_request"),
        (own, grant | {"client_id": rival.client_id}, 400, "invalid_request"),
        (basic(rival.client_id, broker.secret), grant, 401, "invalid_client"),
        (basic(broker.client_id, rival.secret), grant, 401, "invalid_client"),
        (basic(broker.client_id, ""), grant, 401, "invalid_client"),
        (basic("", broker.secret), grant, 401, "invalid_client"),
        ({"authorization": "Basic"}, grant, 401, "invalid_client"),
        ({"authorization": "Basic !!!"}, grant, 401, "invalid_client"),
        ({"authorization": "Basic bm9jb2xvbg=="}, grant, 401, "invalid_client"),
        ({"authorization": "Basic /////w=="}, grant, 401, "invalid_client"),
        ({"authorization": "Basic eDolZmY="}, grant, 401, "invalid_client"),  # x:%ff
        ({"authorization": f"Bearer {broker.token}"}, grant, 401, "invalid_client"),
        ({"authorization": "Digest x"}, grant, 401, "invalid_client"),
    ):
        refused(await api.post(TOKEN, data=body, headers=headers), status, error)
    twice = [("authorization", own["authorization"])] * 2
    refused(await api.post(TOKEN, data=grant, headers=twice), 400, "invalid_request")
    assert await doors(pool) == before


@pytest.mark.abuse(109)
async def test_it_takes_no_token_of_the_marketplace(cast: Cast, broker: Broker) -> None:
    for somebody in (cast.alice, cast.olga):
        answer = await somebody.post(TOKEN, data={"grant_type": "client_credentials"})
        refused(answer, 401, "invalid_client")


# -- the client, later ------------------------------------------------------------------------


async def test_a_new_secret_voids_the_old_one_and_its_tokens(
    broker: Broker, rival: Broker, pool: Pool
) -> None:
    async with pool.connection() as conn, conn.transaction():
        made = await businesses.rotate_secret(conn, broker.business_id, "setup")
    refused(await broker.ask_token(), 401, "invalid_client")
    granted(await broker.ask_token(client_secret=made.secret))
    granted(await rival.ask_token())


async def test_a_blocked_client_is_told_so_only_with_the_right_secret(
    broker: Broker, pool: Pool
) -> None:
    async with pool.connection() as conn, conn.transaction():
        await businesses.set_status(conn, broker.business_id, "Blocked", "setup")
    assert "blocked" in refused(await broker.ask_token(), 401, "invalid_client")
    said = refused(await broker.ask_token(client_secret="x"), 401, "invalid_client")
    assert "blocked" not in said
    async with pool.connection() as conn, conn.transaction():
        await businesses.set_status(conn, broker.business_id, "Active", "setup")
    granted(await broker.ask_token())


async def test_nothing_of_a_secret_is_in_the_database(broker: Broker, pool: Pool) -> None:
    async with pool.connection() as conn:
        for table in ("api_client", "business", "event", "signing_key"):
            for row in await conn.fetch(f"SELECT t::text AS line FROM {table} AS t"):
                assert broker.secret not in row["line"]
                assert broker.secret[3:20] not in row["line"]


# -- limits -----------------------------------------------------------------------------------


async def test_a_hundred_processes_that_start_at_once_all_get_their_token(broker: Broker) -> None:
    answers = await asyncio.gather(*(broker.ask_token() for _ in range(100)))
    assert len({granted(answer) for answer in answers}) == 100


async def test_it_counts_wrong_secrets_by_client_and_address(
    app: Litestar, broker: Broker, rival: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = limits.Limit(CLIENT.name, 3, 60, CLIENT.counts, CLIENT.why)
    monkeypatch.setattr("earnest.partner.token.CLIENT", few)
    for _ in range(20):
        granted(await broker.ask_token())  # who knows the secret is not counted
    for _ in range(3):
        refused(await broker.ask_token(client_secret="x"), 401, "invalid_client")
    for secret in ("x", broker.secret):
        answer = await broker.ask_token(client_secret=secret)
        refused(answer, 429, "temporarily_unavailable")
        assert 0 < int(answer.headers["retry-after"]) <= 60
    granted(await rival.ask_token())
    async with caller(app, address="203.0.113.9") as elsewhere:
        granted(await elsewhere.post(TOKEN, data=broker.form()))


async def test_it_counts_wrong_secrets_of_an_address_whatever_the_client(
    app: Litestar, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = limits.Limit(CLIENT_ADDRESS.name, 3, 60, "", "")
    monkeypatch.setattr("earnest.partner.token.CLIENT_ADDRESS", few)
    for number in range(3):
        answer = await broker.ask_token(client_id=f"ec_{number:024}")
        refused(answer, 401, "invalid_client")
    refused(await broker.ask_token(client_id="ec_x"), 429, "temporarily_unavailable")
    async with caller(app, address="203.0.113.9") as elsewhere:
        granted(await elsewhere.post(TOKEN, data=broker.form()))


async def test_it_counts_the_tokens_of_a_client(
    broker: Broker, rival: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = limits.Limit(CLIENT_TOKEN.name, 2, 60, "", "")
    monkeypatch.setattr("earnest.partner.token.CLIENT_TOKEN", few)
    answers = [await broker.ask_token() for _ in range(3)]
    assert 429 in {answer.status_code for answer in answers}
    granted(await rival.ask_token())


async def test_the_limits_are_beyond_what_a_client_needs(app: Litestar) -> None:
    assert CLIENT.burst >= 100
    assert CLIENT_TOKEN.burst >= 1_000
    async with caller(app) as nobody:
        one = await make_broker(app, "Busy Broker")
        for _ in range(150):
            granted(await nobody.post(TOKEN, data=one.form()))
        await one.client.aclose()
