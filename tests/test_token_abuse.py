"""Forged and altered access tokens: thousands, and not one names anybody (abuse 101 to 104).

`test_foreign_tokens` asks every route; here every kind of forgery asks one.
"""

import base64
import hmac
import json
import secrets
import string
import time
from collections.abc import Iterator
from typing import Any

import pytest

from digest import digest
from earnest.errors import InvalidToken
from earnest.store.db import Pool
from earnest.web.tokens import Tokens
from life import accepted
from web import SECRET_KEY, Cast, caller, problem

PATH = "/api/freelancer/jobs/applied-jobs"
BASE64URL = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
SESSIONS = """
SELECT
    (SELECT string_agg(r::text, '/' ORDER BY r::text) FROM refresh_token AS r) AS tokens,
    (SELECT string_agg(s::text, '/' ORDER BY s::text) FROM session AS s) AS sessions,
    (SELECT string_agg(l::text, '/' ORDER BY l::text) FROM login AS l) AS logins
"""
PEM = """-----BEGIN PUBLIC KEY-----
MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALRiMLAHudeSA2ai2VsT3YJrMgv3cQ1b
Qv4FfCqfB4oC1T0m2kqU3o6r0W4kq2N0h0cB5l1m9sQ8n3yD7a0w1ZkCAwEAAQ==
-----END PUBLIC KEY-----
"""


def encoded(raw: bytes | str) -> str:
    raw = raw.encode() if isinstance(raw, str) else raw
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(header: Any, claims: Any, key: bytes, algorithm: str = "sha256") -> str:
    """A token with a right signature; `header` and `claims` may be JSON that is ready made."""
    parts = [
        encoded(part if isinstance(part, (str, bytes)) else json.dumps(part, separators=(",", ":")))
        for part in (header, claims)
    ]
    text = ".".join(parts)
    return f"{text}.{encoded(hmac.digest(key, text.encode(), algorithm))}"


def altered(token: str) -> Iterator[str]:
    """The token with one character changed, gone, doubled or moved, or cut short."""
    for at, character in enumerate(token):
        before, after = token[:at], token[at + 1 :]
        others = {character.swapcase(), ".", "=", "+", "/", " ", "~", "A", "_"}
        if character in BASE64URL:
            index = BASE64URL.index(character)
            # Every single bit of the six that it stands for.
            others |= {BASE64URL[index ^ (1 << bit)] for bit in range(6)}
        for other in sorted(others - {character}):
            yield before + other + after
        yield before + after
        yield before + character * 2 + after
        yield before
        if after and after[0] != character:
            yield before + after[0] + character + after[1:]


def respelled(token: str) -> Iterator[str]:
    """The same token in other encodings, and with more around it."""
    header, payload, signature = token.split(".")
    yield from (f"{token}=", f"{token}==", f"{header}=.{payload}.{signature}")
    yield f"{header}.{payload}=.{signature}"
    for part in (header, payload, signature):
        raw = base64.urlsafe_b64decode(part + "==")
        for other in (
            base64.b64encode(raw).decode() + "=",
            base64.b32encode(raw).decode(),
            raw.hex(),
            raw.hex().upper(),
            "".join(f"%{ord(each):02X}" for each in part),
            part[::-1],
            part.upper(),
            part.lower(),
            "",
        ):
            yield token.replace(part, other)
    yield from (f"{token}.", f".{token}", f"{token}.{signature}", f"{token}.x.y", f"..{token}")
    yield from (f"{token},{token}", f"{token}, Bearer {token}", f"{token} {token}")
    yield from (f"{token};", f'"{token}"', f"<{token}>", f"{token}\x0b", f"{token}\xa0")
    yield from (f"\xef\xbb\xbf{token}", f"{token}\xe9", token.replace("e", "\xe9", 1))
    yield from (".", "..", "...", "....", "null", "undefined", "e30.e30.e30", "x" * 1025)
    yield from ("x" * 100_000, "." * 10_000, f"{header}.{payload}.", f"{header}..{signature}")


def headers() -> Iterator[Any]:
    """Heads that we never write, for a signature that is right."""
    for alg in ("none", "None", "nOnE", "NONE", "", "HS384", "HS512", "hs256", "RS256", "ES256"):
        yield {"alg": alg, "typ": "JWT"}
    for kind in (None, 256, True, ["HS256"], {"HS256": 1}):
        yield {"alg": kind, "typ": "JWT"}
    more: dict[str, Any]
    for more in (
        {"kid": "../../dev/null"},
        {"kid": "0"},
        {"kid": "' OR 1=1--"},
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"jwk": {"kty": "oct", "k": encoded(b"mine")}},
        {"x5c": [encoded(b"mine")]},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"enc": "A256GCM"},
    ):
        yield {"alg": "HS256", "typ": "JWT", **more}
    typ: Any
    for typ in ("jwt", "at+jwt", "refresh", "", None, 1):
        yield {"alg": "HS256", "typ": typ}
    yield from ({"alg": "HS256"}, {"typ": "JWT"}, {}, {"typ": "JWT", "alg": "HS256"}, [], None)
    yield from ('{"alg":"none","alg":"HS256","typ":"JWT"}', '{"alg":"HS256","typ":"JWT"} ', "", "x")
    yield from (' {"alg":"HS256","typ":"JWT"}', '{"alg": "HS256", "typ": "JWT"}', b"\xff\xfe")


def claims_like(good: dict[str, Any]) -> Iterator[Any]:
    """Claims that we never make, for a signature that is right."""
    now = good["iat"]
    for name, own in good.items():
        yield {key: value for key, value in good.items() if key != name}
        yield {("NAME" if key == name else key): value for key, value in good.items()}
        yield {(key.upper() if key == name else key): value for key, value in good.items()}
        kinds: tuple[Any, ...] = (None, True, [], {}, "", -1, 1.5, 1e308, 2**70, [own])
        if name not in ("gen", "jti"):
            kinds += (0, "x")
        for value in kinds:
            yield {**good, name: value}
        text = json.dumps(good, separators=(",", ":"))
        again = json.dumps({name: own})[1:-1]
        yield text[:-1] + f",{again}}}"
        yield f"{{{again},{text[1:]}"
        yield text.replace(f'"{name}"', f'"\\u{ord(name[0]):04x}{name[1:]}"')
    for extra in ("nbf", "sub", "scope", "admin", "azp", "x"):
        yield {**good, extra: now}
    for change in (
        {"exp": now - 1},
        {"exp": now},
        {"exp": -now},
        {"exp": now + 10 * 365 * 86_400},
        {"exp": "9999999999"},
        {"exp": f"{now + 60}"},
        {"exp": float(now + 60)},
        {"exp": 10**400},
        {"iat": now + 3600},
        {"iat": now + 3600, "exp": now + 7200},
        {"iat": -now},
        {"iat": 0},
        {"iat": float(now)},
        {"iat": now - 10**9, "exp": now + 60},
        {"typ": "refresh"},
        {"typ": "Access"},
        {"iss": "Earnest"},
        {"iss": "https://earnest"},
        {"aud": "earnest-partner"},
        {"aud": ["earnest-marketplace"]},
        {"aud": ["earnest-marketplace", "earnest-partner"]},
        {"role": "Admin"},
        {"role": "admin "},
        {"role": ["freelancer"]},
        {"role": "freelancer,admin"},
        {"role": "superuser"},
        {"id": good["id"].upper() + "x"},
        {"id": good["id"] + "\n"},
        {"id": good["id"] + "\x00"},
        {"id": int(good["id"], 16)},
        {"id": {"$ne": None}},
        {"id": "6" * 23},
        {"id": "../" + good["id"]},
        {"jti": ["x"]},
    ):
        yield {**good, **change}
    text = json.dumps(good)
    yield from (text, f" {text}", f"{text} ", f"[{text}]", f"{text}{text}", '"x"', "7", "null", "")
    yield from (text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode(), b"\xff\xfe\x00", "{" * 500)


def keys(tokens: Tokens) -> Iterator[bytes]:
    """Keys that others may know, or hope for."""
    own = tokens._key
    yield from (b"", b"secret", b"\x00" * 32, SECRET_KEY, PEM.encode(), PEM.strip().encode())
    yield from (own[:-1], own + b"\n", own.hex().encode(), own[::-1])
    yield json.dumps({"kty": "RSA", "n": "x", "e": "AQAB"}).encode()


def forged(cast: Cast, token: str) -> Iterator[str]:
    """All of it for one good token."""
    tokens: Tokens = cast.app.state.access_tokens
    own = tokens._key
    raw_header, raw_claims, signature = token.split(".")
    header = json.loads(base64.urlsafe_b64decode(raw_header + "=="))
    claims = json.loads(base64.urlsafe_b64decode(raw_claims + "=="))
    yield from altered(token)
    yield from respelled(token)
    for other in headers():
        yield signed(other, claims, own)
        yield signed(other, claims, PEM.encode())
        yield signed(other, claims, own).rpartition(".")[0] + "."
        yield signed(other, claims, own).rpartition(".")[0] + f".{signature}"
    for algorithm in ("sha1", "sha384", "sha512", "md5"):
        yield signed(header, claims, own, algorithm)
    for key in keys(tokens):
        yield signed(header, claims, key)
        yield signed(header, {**claims, "role": "admin"}, key)
    for changed in claims_like(claims):
        yield signed(header, changed, own)
    for change in ({"role": "admin"}, {"id": cast.olga.id}, {"exp": claims["exp"] + 60}):
        yield f"{raw_header}.{encoded(json.dumps({**claims, **change}))}.{signature}"
    for _ in range(300):
        length = secrets.randbelow(400)
        yield "".join(secrets.choice(BASE64URL + "..") for _ in range(length))
        yield f"{raw_header}.{raw_claims}.{encoded(secrets.token_bytes(32))}"
        yield f"{raw_header}.{encoded(secrets.token_bytes(150))}.{signature}"


@pytest.mark.abuse(101, 103, 104, 106)
async def test_not_one_forgery_is_accepted(cast: Cast, pool: Pool) -> None:
    token = cast.bob.headers["authorization"].removeprefix("Bearer ")
    before = await state(pool)
    tried = 0
    async with caller(cast.app) as mallory:
        for forgery in forged(cast, token):
            assert forgery != token
            header = (b"Authorization", b"Bearer " + forgery.encode("latin-1"))
            answer = await mallory.get(PATH, headers=[header])
            said = problem(answer, 401)
            assert said["error"] == "Invalid authentication token.", forgery
            tried += 1
    assert tried >= 5_000
    assert await state(pool) == before
    accepted(await cast.bob.get(PATH))


async def test_the_verifier_says_the_same_of_each_and_nothing_else(cast: Cast) -> None:
    """The same forgeries past the header's parsing: InvalidToken, no other exception."""
    tokens: Tokens = cast.app.state.access_tokens
    token = cast.bob.headers["authorization"].removeprefix("Bearer ")
    for forgery in forged(cast, token):
        with pytest.raises(InvalidToken):
            tokens.read(forgery)
    assert tokens.read(token).id == cast.bob.id


async def test_its_canary_a_right_signature_over_our_own_words_is_accepted(cast: Cast) -> None:
    tokens: Tokens = cast.app.state.access_tokens
    token = cast.bob.headers["authorization"].removeprefix("Bearer ")
    header, claims = (base64.urlsafe_b64decode(part + "==") for part in token.split(".")[:2])
    later = json.loads(claims) | {"exp": int(time.time()) + 60, "jti": "x"}
    async with caller(cast.app) as bob:
        for again in (signed(header, claims, tokens._key), signed(header, later, tokens._key)):
            headers = {"authorization": f"Bearer {again}"}
            accepted(await bob.get(PATH, headers=headers))


async def test_it_reads_one_header_with_one_scheme(cast: Cast, pool: Pool) -> None:
    good = cast.bob.headers["authorization"]
    token = good.removeprefix("Bearer ")
    before = await state(pool)
    async with caller(cast.app) as bob:
        for scheme in ("Bearer", "bearer", "BEARER"):
            accepted(await bob.get(PATH, headers={"authorization": f"{scheme} {token}"}))
        for value in (
            token,
            f"Token {token}",
            f"JWT {token}",
            f"Basic {token}",
            f"DPoP {token}",
            f"Bearer:{token}",
            f"Bearer\t{token}",
            f"Bearer,{token}",
            f"Bearer token={token}",
            f"Bearer Bearer {token}",
            "Bearer",
            "Bearer ",
            "",
            " ",
        ):
            problem(await bob.get(PATH, headers={"authorization": value}), 401)
        for other in (good, "Bearer x", "Basic Ym9iOmJvYg==", ""):
            for pair in ((good, other), (other, good)):
                doubled = [("authorization", value) for value in pair]
                problem(await bob.get(PATH, headers=doubled), 401)
        for name in ("x-access-token", "proxy-authorization", "x-authorization"):
            problem(await bob.get(PATH, headers={name: good}), 401)
        for query in (f"access_token={token}", f"token={token}", f"authorization={token}"):
            problem(await bob.get(f"{PATH}?{query}"), 401)
        problem(await bob.get(PATH, headers={"cookie": f"accessToken={token}"}), 401)
    assert await state(pool) == before


async def state(pool: Pool) -> tuple[Any, ...]:
    """All business rows, and all that says who may come in."""
    async with pool.connection() as conn:
        return await digest(pool), *map(tuple, await conn.fetch(SESSIONS))
