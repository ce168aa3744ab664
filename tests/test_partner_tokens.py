"""Partners' access tokens, forged, foreign and old (abuse 101 to 104, row 62), and their keys.

PyJWT is the oracle: what the published keys verify for it is what we issued, and nothing that it
would let pass for being lenient gets past us.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from litestar import Litestar

from digest import digest
from earnest.app import build_app
from earnest.domain.party import Role
from earnest.errors import InvalidToken
from earnest.partner.signing import SigningKey
from earnest.partner.tokens import PartnerTokens
from earnest.store import businesses
from earnest.store.db import Pool
from partners import Broker
from test_token_abuse import altered, encoded, respelled
from web import SECRET_KEY, Caller, Cast, caller, make_settings

JWKS = "/.well-known/jwks.json"
ISSUER = "http://127.0.0.1:8000"
FOREIGN = rsa.generate_private_key(65_537, 2_048)


def tokens_of(app: Litestar) -> PartnerTokens:
    found: PartnerTokens = app.state.partner_tokens
    return found


async def own_key(app: Litestar) -> SigningKey:
    return await tokens_of(app).keys.signer()


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims."""
    header, payload, _ = token.split(".")
    return json.loads(base64.urlsafe_b64decode(header + "==")), json.loads(
        base64.urlsafe_b64decode(payload + "==")
    )


def signed(header: Any, claims: Any, key: rsa.RSAPrivateKey, algorithm: Any = None) -> str:
    """A token with a right signature; `header` and `claims` may be JSON that is ready made."""
    text = ".".join(
        encoded(part if isinstance(part, (str, bytes)) else json.dumps(part, separators=(",", ":")))
        for part in (header, claims)
    )
    made = key.sign(text.encode(), padding.PKCS1v15(), algorithm or hashes.SHA256())
    return f"{text}.{encoded(made)}"


# -- what is issued ---------------------------------------------------------------------------


async def test_the_published_keys_verify_it(app: Litestar, broker: Broker, api: Caller) -> None:
    answer = await api.get(JWKS)
    assert answer.headers["cache-control"] == "public, max-age=300"
    keys = jwt.PyJWKSet.from_dict(answer.json())
    header = jwt.get_unverified_header(broker.token)
    assert header == {"alg": "RS256", "kid": header["kid"], "typ": "at+jwt"}
    claims = jwt.decode(
        broker.token,
        keys[header["kid"]].key,
        algorithms=["RS256"],
        audience="earnest-partner",
        issuer=ISSUER,
        options={"require": ["iss", "sub", "aud", "client_id", "iat", "exp", "jti"]},
    )
    assert claims["sub"] == claims["client_id"] == broker.client_id
    assert (claims["business"], claims["generation"]) == (broker.key, 1)
    assert claims["exp"] - claims["iat"] == 86_400
    assert abs(claims["iat"] - time.time()) < 60
    actor = await tokens_of(app).read(broker.token)
    assert (actor.role, actor.key, actor.token_generation) == (Role.PARTNER, broker.key, 1)


async def test_what_is_published_is_public_and_named_by_its_thumbprint(
    broker: Broker, api: Caller
) -> None:
    [key] = (await api.get(JWKS)).json()["keys"]
    assert set(key) == {"kty", "use", "alg", "kid", "n", "e"}
    text = json.dumps({name: key[name] for name in ("e", "kty", "n")}, separators=(",", ":"))
    assert key["kid"] == encoded(hashlib.sha256(text.encode()).digest())  # RFC 7638
    assert (key["kty"], key["use"], key["alg"], key["e"]) == ("RSA", "sig", "RS256", "AQAB")
    assert len(base64.urlsafe_b64decode(key["n"] + "==")) == 256


async def test_nobody_is_told_that_there_are_no_keys(api: Caller, pool: Pool) -> None:
    assert len((await api.get(JWKS)).json()["keys"]) == 1
    assert len((await api.get(JWKS)).json()["keys"]) == 1


async def test_it_signs_other_statements_of_another_type(app: Litestar, api: Caller) -> None:
    claims = {"iss": ISSUER, "exp": int(time.time()) + 60, "status": "success"}
    token = await tokens_of(app).sign(claims, "checkout-result+jwt")
    key = jwt.PyJWKSet.from_dict((await api.get(JWKS)).json())
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "checkout-result+jwt"
    assert jwt.decode(token, key[header["kid"]].key, algorithms=["RS256"]) == claims
    with pytest.raises(InvalidToken):
        await tokens_of(app).read(token)
    with pytest.raises(ValueError, match="issue"):
        await tokens_of(app).sign(claims, "at+jwt")


# -- what is refused --------------------------------------------------------------------------


def headers(good: dict[str, Any]) -> Iterator[Any]:
    """Heads that we never write, for a signature that is right."""
    for name in ("none", "None", "nOnE", "", "RS384", "RS512", "rs256", "PS256", "HS256", "ES256"):
        yield good | {"alg": name}
    alg: Any
    for alg in (None, 256, True, ["RS256"], {"RS256": 1}):
        yield good | {"alg": alg}
    for kid in ("../../dev/null", "", "0", "' OR 1=1--", None, 7, "A" * 43, good["kid"] + "A"):
        yield good | {"kid": kid}
    more: dict[str, Any]
    for more in (
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": [encoded(b"mine")]},
        {"jwk": {"kty": "RSA", "n": "x", "e": "AQAB"}},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"zip": "DEF"},
        {"cty": "JWT"},
    ):
        yield good | more
    typ: Any
    for typ in ("JWT", "jwt", "AT+JWT", "application/at+jwt", "checkout-result+jwt", "", None, 1):
        yield good | {"typ": typ}
    for name in good:
        yield {key: value for key, value in good.items() if key != name}
    yield from ({}, [], None, dict(reversed(good.items())))
    text = json.dumps(good, separators=(",", ":"))
    yield from (text + " ", " " + text, json.dumps(good), "", "x", b"\xff\xfe")
    yield f'{{"alg":"none",{text[1:]}'


def claims_like(good: dict[str, Any]) -> Iterator[Any]:
    """Claims that we never make, for a signature that is right."""
    now = good["iat"]
    value: Any
    for name, own in good.items():
        yield {key: value for key, value in good.items() if key != name}
        yield {(key.upper() if key == name else key): value for key, value in good.items()}
        for value in (None, True, [], {}, "", -1, 1.5, 1e308, 2**70, [own], "x", 0):
            if (name, value) != ("generation", True):
                yield good | {name: value}
        text = json.dumps(good, separators=(",", ":"))
        again = json.dumps({name: own})[1:-1]
        yield text[:-1] + f",{again}}}"
        yield f"{{{again},{text[1:]}"
    for extra in ("nbf", "scope", "role", "admin", "x"):
        yield good | {extra: now}
    for change in (
        {"exp": now - 1},
        {"exp": now},
        {"exp": now + 86_401},
        {"exp": now + 10 * 365 * 86_400},
        {"exp": "9999999999"},
        {"exp": float(now + 60)},
        {"exp": 10**400},
        {"iat": now + 3_600},
        {"iat": now + 3_600, "exp": now + 7_200},
        {"iat": now - 90_000, "exp": now - 3_600},
        {"iat": 0},
        {"iat": float(now)},
        {"iss": "https://evil.example"},
        {"iss": good["iss"] + "/"},
        {"aud": "earnest-marketplace"},
        {"aud": ["earnest-partner"]},
        {"business": 1},
        {"business": 0},
        {"business": str(good["business"])},
        {"generation": 0},
        {"generation": 2**31},
        {"sub": "ec_" + "0" * 24},
        {"client_id": "ec_" + "0" * 24},
        {"sub": good["sub"].upper(), "client_id": good["sub"].upper()},
        {"jti": "x"},
        {"jti": good["jti"].upper() + "A"},
    ):
        yield good | change
    text = json.dumps(good)
    yield from (text, f" {text}", f"{text} ", f"[{text}]", '"x"', "7", "null", "", "{" * 500)
    yield from (text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode(), b"\xff\xfe\x00")


def confused(header: dict[str, Any], claims: dict[str, Any], key: SigningKey) -> Iterator[str]:
    """Signed with what everybody knows: the public key, as a secret (abuse 101)."""
    public = key.private.public_key()
    known = [
        public.public_bytes(encoding, form)
        for encoding, form in (
            (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
            (serialization.Encoding.PEM, serialization.PublicFormat.PKCS1),
            (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo),
        )
    ]
    known += [known[0].strip(), key.jwk.n.encode(), b"", SECRET_KEY]
    known.append(json.dumps({"kty": "RSA", "n": key.jwk.n, "e": key.jwk.e}).encode())
    for secret in known:
        for alg in ("HS256", "RS256"):
            text = f"{encoded(json.dumps(header | {'alg': alg}))}.{encoded(json.dumps(claims))}"
            yield f"{text}.{encoded(hmac.digest(secret, text.encode(), 'sha256'))}"
            canonical = json.dumps(header | {"alg": alg}, separators=(",", ":"))
            text = f"{encoded(canonical)}.{encoded(json.dumps(claims, separators=(',', ':')))}"
            yield f"{text}.{encoded(hmac.digest(secret, text.encode(), 'sha256'))}"


def otherwise_signed(header: Any, claims: Any, key: SigningKey) -> Iterator[str]:
    """Good words under another signature."""
    own = key.private
    text = signed(header, claims, own).rpartition(".")[0]
    raw = text.encode()
    yield signed(header, claims, FOREIGN)
    yield signed(header, claims, own, hashes.SHA1())
    yield signed(header, claims, own, hashes.SHA384())
    yield signed(header, claims, own, hashes.SHA512())
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
    for made in (
        own.sign(raw, pss, hashes.SHA256()),
        ec.generate_private_key(ec.SECP256R1()).sign(raw, ec.ECDSA(hashes.SHA256())),
        ed25519.Ed25519PrivateKey.generate().sign(raw),
        b"",
        b"\x00" * 256,
        b"\x01" * 256,
        b"\xff" * 256,
        own.sign(raw, padding.PKCS1v15(), hashes.SHA256()) + b"\x00",
        b"\x00" + own.sign(raw, padding.PKCS1v15(), hashes.SHA256()),
        own.sign(raw[:-1], padding.PKCS1v15(), hashes.SHA256()),
    ):
        yield f"{text}.{encoded(made)}"


async def forged(app: Litestar, token: str) -> list[str]:
    """All of it for one good token."""
    key = await own_key(app)
    header, claims = parts_of(token)
    made = list(altered(token))[::3] + list(respelled(token))
    for other in headers(header):
        made += [signed(other, claims, key.private), signed(other, claims, FOREIGN)]
        made.append(signed(other, claims, key.private).rpartition(".")[0] + ".")
    made += [signed(header, changed, key.private) for changed in claims_like(claims)]
    made += confused(header, claims, key)
    made += otherwise_signed(header, claims, key)
    made += ["x" * 1_000_000, f"{token}{'A' * 4_000}", "eyJhbGciOiJub25lIn0.e30."]
    return made


@pytest.mark.abuse(101, 103, 104)
async def test_not_one_forgery_is_read(app: Litestar, broker: Broker) -> None:
    found = await forged(app, broker.token)
    assert len(found) > 2_000
    for forgery in found:
        assert forgery != broker.token
        with pytest.raises(InvalidToken):
            await tokens_of(app).read(forgery)
    assert (await tokens_of(app).read(broker.token)).key == broker.key


async def test_its_canary_a_right_signature_over_our_own_words_is_read(
    app: Litestar, broker: Broker
) -> None:
    """The same helper that forges, with nothing forged: so the refusals above are for a cause."""
    key = await own_key(app)
    header, claims = parts_of(broker.token)
    later = claims | {"exp": claims["iat"] + 60, "jti": "0" * 32}
    for words in (claims, later):
        assert (await tokens_of(app).read(signed(header, words, key.private))).key == broker.key


@pytest.mark.abuse(101, 103, 104)
async def test_a_forgery_on_the_wire_is_401_and_changes_nothing(
    app: Litestar, broker: Broker, pool: Pool
) -> None:
    found = await forged(app, broker.token)
    path = "/apps/api/contracts"
    assert (await broker.client.get(path)).status_code == 200
    before = await digest(pool)
    async with caller(app) as mallory:
        for forgery in found[:: len(found) // 150]:
            if len(forgery) < 8_000:
                header = (b"Authorization", b"Bearer " + forgery.encode("latin-1"))
                answer = await mallory.get(path, headers=[header])
                assert answer.status_code == 401, forgery
                assert answer.headers["www-authenticate"] == "Bearer"
    assert await digest(pool) == before


@pytest.mark.abuse(62, 101)
async def test_each_face_refuses_the_tokens_of_the_other(
    cast: Cast, broker: Broker, pool: Pool
) -> None:
    before = await digest(pool)
    for somebody in (cast.alice, cast.bob, cast.olga):
        answer = await somebody.get("/apps/api/contracts")
        assert answer.status_code == 401, answer.text
        assert list(answer.json()) == [
            "message", "status", "validationErrors", "succeeded", "errors",
        ]  # fmt: skip
    for method, path in (
        ("GET", "/api/admin/users/get-clients"),
        ("GET", "/api/admin/businesses"),
        ("GET", "/api/client/job/get-jobs"),
        ("GET", "/api/admin/categories/get-categories"),
        ("POST", "/api/client/job/create-job"),
        ("POST", "/api/admin/businesses"),
    ):
        answer = await broker.client.request(method, path, json={} if method == "POST" else None)
        assert answer.status_code == 401, path
        assert answer.json()["code"] == "invalid_token"
    assert await digest(pool) == before


async def test_another_installation_has_other_keys(
    app: Litestar, broker: Broker, database: Any
) -> None:
    """The same database behind another public URL: neither takes the other's tokens."""
    elsewhere = make_settings(database.app_dsn, public_url="http://127.0.0.1:9000")
    other = build_app(elsewhere, Pool(database.app_dsn))
    async with other.lifespan():
        with pytest.raises(InvalidToken):
            await tokens_of(other).read(broker.token)


async def test_another_secret_key_signs_everybody_out(
    app: Litestar, broker: Broker, database: Any
) -> None:
    """And makes a key of its own: what it cannot open is not its."""
    settings = msgspec.structs.replace(
        make_settings(database.app_dsn), secret_key=b"another secret of at least 32 bytes"
    )
    other = build_app(settings, Pool(database.app_dsn))
    async with other.lifespan():
        with pytest.raises(InvalidToken):
            await tokens_of(other).read(broker.token)
        assert (await own_key(other)).kid != (await own_key(app)).kid
        assert [key.kid for key in await tokens_of(other).keys.published()] == [
            (await own_key(other)).kid
        ]


async def test_a_token_ends_with_its_time(
    app: Litestar, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it was verified before: 24 hours of real time, whatever the sandbox clock says."""
    assert (await tokens_of(app).read(broker.token)).key == broker.key
    exp = parts_of(broker.token)[1]["exp"]
    for now, is_good in ((exp - 1, True), (exp, False), (exp + 1, False), (exp - 86_406, False)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        if is_good:
            await tokens_of(app).read(broker.token)
        else:
            with pytest.raises(InvalidToken):
                await tokens_of(app).read(broker.token)


async def test_a_blocked_client_is_out_from_its_next_request_on(
    broker: Broker, rival: Broker, pool: Pool
) -> None:
    path = "/apps/api/contracts"
    for status, expected in (("Blocked", 403), ("Active", 200)):
        async with pool.connection() as conn, conn.transaction():
            await businesses.set_status(
                conn, broker.business_id, "Blocked" if status == "Blocked" else "Active", "setup"
            )
        assert (await broker.client.get(path)).status_code == expected
        assert (await rival.client.get(path)).status_code == 200


async def test_a_new_secret_ends_the_tokens_of_the_old_one(broker: Broker, pool: Pool) -> None:
    async with pool.connection() as conn, conn.transaction():
        made = await businesses.rotate_secret(conn, broker.business_id, "setup")
    answer = await broker.client.get("/apps/api/contracts")
    assert answer.status_code == 401
    broker.secret = made.secret
    token = (await broker.ask_token()).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    assert (await broker.client.get("/apps/api/contracts", headers=headers)).status_code == 200
