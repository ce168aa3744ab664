"""/apps/api/user: a partner's users, what it may say of them, and how far they have come."""

import asyncio
import re
from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar

from conftest import TestDatabase
from digest import digest
from earnest.store import kyc, parties
from earnest.store.db import Pool
from earnest.store.kyc import Known
from partners import Broker, make_broker
from web import Caller, caller

USER = "/apps/api/user"
ONBOARDING = "/apps/api/user/onboarding"
HUDA = {"phoneNumber": "966500000001", "firstName": "Huda", "lastName": "S"}
IDENTITY = {
    "nationalId": "1023456789",
    "iBAN": "SA0380000000608010167519",
    "bIC": "RJHISARI",
    "dateOfBirth": "1990-02-28",
}


async def create(broker: Broker, **other: Any) -> dict[str, Any]:
    """The `data` of the answer."""
    answer = await broker.client.post(USER, json=HUDA | other)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def onboarding(broker: Broker, phone: str = HUDA["phoneNumber"]) -> httpx.Response:
    return await broker.client.get(ONBOARDING, params={"phoneNumber": phone})


async def refused(broker: Broker, asked: Any, status: int, field: str | None = None) -> str:
    """The message about `field`, after a refusal in the envelope that changed nothing."""
    pool: Pool = broker.app.state.pool
    before = await digest(pool)
    answer: httpx.Response = await asked
    assert await digest(pool) == before
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert "data" not in body
    assert body["status"] == status
    assert body["succeeded"] is False
    assert [one["field"] for one in body["validationErrors"]] == ([field] if field else [])
    return str(body["validationErrors"][0]["message"] if field else body["message"])


# -- creating -------------------------------------------------------------------------------------


async def test_it_answers_the_reference_and_a_link_in_the_envelope(broker: Broker) -> None:
    answer = await broker.client.post(USER, json=HUDA)
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["data", "message", "status", "validationErrors", "succeeded", "errors"]
    assert body["message"] == "User created successfully."
    data = body["data"]
    assert list(data) == ["platformRefId", "kycUrl", "kyc"]
    assert list(data["kyc"]) == ["url", "token", "expiresAt"]
    assert re.fullmatch(r"USR_[0-9]{14}_[0-9]{4}", data["platformRefId"])
    assert data["kycUrl"] == data["kyc"]["url"]
    assert data["kyc"]["url"].endswith(f"/onboarding?token={data['kyc']['token']}")
    assert re.fullmatch(r"[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z", data["kyc"]["expiresAt"])


async def test_it_binds_names_in_any_case_and_ignores_what_it_does_not_know(
    broker: Broker, app: Litestar
) -> None:
    sent = {"PHONENUMBER": "966500000001", "firstname": "Huda", "LastName": "", "x": 1,
            "NationalID": "1023456789", "IBAN": IDENTITY["iBAN"], "bic": "RJHISARI"}  # fmt: skip
    answer = await broker.client.post(USER, json=sent)
    assert answer.status_code == 200, answer.text
    pool: Pool = app.state.pool
    async with pool.connection() as conn:
        member = await parties.find_by_phone(conn, broker.key, "966500000001")
        assert member is not None
        assert (member.first_name, member.last_name, member.name) == ("Huda", "", "Huda")
        known = await kyc.known(conn, app.state.sealer, member.key)
    assert known == Known(national_id="1023456789", iban=IDENTITY["iBAN"], bic="RJHISARI")


async def test_a_known_phone_is_the_user_who_is_stored(broker: Broker, app: Litestar) -> None:
    first = await create(broker, **IDENTITY)
    again = await create(
        broker, firstName="Mallory", lastName="M", nationalId="2099999999",
        iBAN="DE89370400440532013000", bIC="DEUTDEFF", dateOfBirth="1970-01-01",
    )  # fmt: skip
    assert again["platformRefId"] == first["platformRefId"]
    pool: Pool = app.state.pool
    async with pool.connection() as conn:
        member = await parties.find_by_phone(conn, broker.key, HUDA["phoneNumber"])
        assert member is not None
        assert member.name == "Huda S"
        known = await kyc.known(conn, app.state.sealer, member.key)
        assert known.national_id == IDENTITY["nationalId"]
        assert (known.iban, known.bic) == (IDENTITY["iBAN"], IDENTITY["bIC"])
        assert await conn.fetchval("SELECT count(*) FROM party WHERE business_id > 1") == 1


async def test_what_was_left_out_may_be_told_later(broker: Broker, app: Litestar) -> None:
    await create(broker)
    await create(broker, nationalId="1023456789")
    await create(broker, iBAN=IDENTITY["iBAN"], bIC=IDENTITY["bIC"], dateOfBirth="1990-02-28")
    pool: Pool = app.state.pool
    async with pool.connection() as conn:
        member = await parties.find_by_phone(conn, broker.key, HUDA["phoneNumber"])
        assert member is not None
        known = await kyc.known(conn, app.state.sealer, member.key)
    assert known.national_id == "1023456789"
    assert known.iban == IDENTITY["iBAN"]
    assert str(known.born) == "1990-02-28"


async def test_fifty_at_once_for_one_phone_are_one_user(broker: Broker, app: Litestar) -> None:
    made = await asyncio.gather(*(create(broker) for _ in range(50)))
    assert len({one["platformRefId"] for one in made}) == 1
    others = await asyncio.gather(
        *(create(broker, phoneNumber=f"9665001000{at:02d}") for at in range(20))
    )
    assert len({one["platformRefId"] for one in others}) == 20


# Whoever comes next in business $1, in this or one of the next 60 seconds, meets its reference.
TAKE_NEXT_REFERENCES = """
INSERT INTO party (
    id, public_id, business_id, name, platform_ref, phone, first_name, last_name
)
SELECT
    900000000 + s, 'x' || s, $1, 'Taken', format(
        'USR_%s_%s',
        to_char((business_now() + make_interval(secs => s)) AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISS'),
        lpad(((SELECT last_value + 256 FROM object_key) % 10000)::text, 4, '0')
    ), 900000000 + s, 'Taken', ''
FROM generate_series(0, 60) AS s
"""


async def test_a_reference_that_is_taken_is_made_anew(
    broker: Broker, database: TestDatabase
) -> None:
    await create(broker)
    conn = await asyncpg.connect(database.owner_dsn)
    await conn.execute(TAKE_NEXT_REFERENCES, broker.key)
    due = await conn.fetchval("SELECT last_value + 256 FROM object_key")
    made = await create(broker, phoneNumber="966500000009")
    assert not made["platformRefId"].endswith(f"_{due % 10_000:04d}")
    taken = await conn.fetchval("SELECT id FROM party WHERE phone = '966500000009'")
    assert taken == due + 256
    await conn.close()


async def test_the_same_key_answers_the_same_and_another_body_is_refused(broker: Broker) -> None:
    headers = {"Idempotency-Key": "huda-1"}
    first = await broker.client.post(USER, json=HUDA, headers=headers)
    again = await broker.client.post(USER, json=HUDA, headers=headers)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    other = broker.client.post(USER, json=HUDA | {"firstName": "Hind"}, headers=headers)
    await refused(broker, other, 422)


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"phoneNumber": "+966500000001"}, "phoneNumber"),
        ({"phoneNumber": "966 500000001"}, "phoneNumber"),
        ({"phoneNumber": ""}, "phoneNumber"),
        ({"phoneNumber": 966500000001}, "phoneNumber"),
        ({"phoneNumber": None}, "phoneNumber"),
        ({"firstName": ""}, "firstName"),
        ({"firstName": "x" * 101}, "firstName"),
        ({"firstName": "Hu\u200bda"}, "firstName"),
        ({"lastName": None}, "lastName"),
        ({"nationalId": "5023456789"}, "nationalId"),
        ({"iBAN": "SA0480000000608010167519"}, "iBAN"),
        ({"bIC": "RJHI"}, "bIC"),
        ({"dateOfBirth": "2999-01-01"}, "dateOfBirth"),
        ({"dateOfBirth": "28/02/1990"}, "dateOfBirth"),
        ({"callbackUrl": "javascript:alert(1)"}, "callbackUrl"),
        ({"callbackUrl": "https://user:pass@shop.example/"}, "callbackUrl"),
        ({"callbackUrl": "http://shop.example/"}, "callbackUrl"),
    ],
)
async def test_it_names_what_cannot_be_right(
    broker: Broker, other: dict[str, Any], field: str
) -> None:
    sent = str(next(iter(other.values())))
    text = await refused(broker, broker.client.post(USER, json=HUDA | other), 400, field)
    assert len(sent) < 5 or sent not in text


async def test_it_names_the_field_as_the_caller_wrote_it(broker: Broker) -> None:
    sent = {"PhoneNumber": "966500000001", "FIRSTNAME": "Huda", "lastName": "", "Iban": "SA1"}
    await refused(broker, broker.client.post(USER, json=sent), 400, "Iban")


async def test_it_says_in_arabic_what_is_wrong_to_who_reads_arabic(broker: Broker) -> None:
    for other, words in (
        ({"iBAN": "SA0480000000608010167519"}, "iBAN فيه خطأ: أرقام التحقق غير مطابقة"),
        ({"iBAN": "SA048"}, "iBAN يجب أن يكون رقم آيبان، مثل SA ثم 22 رقمًا"),
        ({"iBAN": "SA04800000006080101675"}, "iBAN يجب أن يتكون من SA ثم 22 خانة"),
        ({"nationalId": "5"}, "nationalId يجب أن يتكون من 10 أرقام أولها 1 أو 2"),
        ({"firstName": "x" * 101}, "firstName يجب ألا يزيد على 100 حرفًا"),
    ):
        asked = broker.client.post(USER, json=HUDA | other, headers={"Accept-Language": "ar-SA"})
        assert await refused(broker, asked, 400, next(iter(other))) == words


@pytest.mark.abuse(119)
async def test_it_refuses_names_that_turn_the_text_around(broker: Broker) -> None:
    for name in ("Hu\u202eda", "Hu\u0000da"):
        asked = broker.client.post(USER, json=HUDA | {"firstName": name})
        await refused(broker, asked, 400, "firstName")


async def test_a_business_with_allowed_hosts_leads_nowhere_else(app: Litestar) -> None:
    strict = await make_broker(app, "Strict Broker", callback_hosts=["shop.example"])
    url = "https://shop.example/back?order=7"
    assert (await strict.client.post(USER, json=HUDA | {"callbackUrl": url})).status_code == 200
    elsewhere = HUDA | {"callbackUrl": "https://shop.example.evil.example/"}
    await refused(strict, strict.client.post(USER, json=elsewhere), 400, "callbackUrl")
    await strict.client.aclose()


# -- asking ---------------------------------------------------------------------------------------


async def test_it_tells_how_far_a_user_is(broker: Broker) -> None:
    made = await create(broker)
    answer = await onboarding(broker)
    assert answer.status_code == 200
    body = answer.json()
    assert body["message"] == "OnboardingRetrievedSuccessfully"
    data = body["data"]
    assert data["onboarding"]["url"] == data["onboardingUrl"]
    assert set(data["onboarding"]) == {"token", "url", "expiresAt"}
    data.pop("onboarding"), data.pop("onboardingUrl")
    assert data == {
        "onboardingCompleted": False,
        "isVerified": False,
        "kycCompleted": False,
        "isBankAccountReady": False,
        "platformRefId": made["platformRefId"],
    }


async def test_what_a_partner_says_proves_nothing(broker: Broker) -> None:
    await create(broker, **IDENTITY)
    data = (await onboarding(broker)).json()["data"]
    assert not data["kycCompleted"]
    assert not data["isVerified"]
    assert not data["isBankAccountReady"]


async def test_an_unknown_phone_is_404_and_a_malformed_one_400(broker: Broker) -> None:
    await refused(broker, onboarding(broker, "966599999999"), 404)
    for phone in ("", "966", "+966500000001", "9" * 40, "%00"):
        await refused(broker, onboarding(broker, phone), 400, "phoneNumber")
    await refused(broker, broker.client.get(ONBOARDING), 400, "phoneNumber")


# -- who may --------------------------------------------------------------------------------------


async def test_a_phone_of_another_business_is_unknown_and_stays_theirs(
    broker: Broker, rival: Broker
) -> None:
    mine = await create(broker)
    theirs = await onboarding(rival)
    assert theirs.status_code == 404
    assert theirs.content == (await onboarding(rival, "966577777777")).content
    other = await create(rival, firstName="Hind")
    assert other["platformRefId"] != mine["platformRefId"]
    assert (await onboarding(rival)).status_code == 200


async def test_it_is_for_partners_only(broker: Broker, cast: Any, api: Caller) -> None:
    for somebody in (cast.alice, cast.bob, cast.olga, api):
        await refused(broker, somebody.post(USER, json=HUDA), 401)
        await refused(broker, somebody.get(ONBOARDING, params={"phoneNumber": "966500000001"}), 401)
    async with caller(broker.app, Authorization="Bearer e30.e30.e30") as forger:
        await refused(broker, forger.post(USER, json=HUDA), 401)


async def test_a_blocked_partner_is_kept_out(broker: Broker, app: Litestar) -> None:
    await create(broker)
    pool: Pool = app.state.pool
    async with pool.connection() as conn:
        await conn.execute("UPDATE api_client SET status = 'Blocked'")
    await refused(broker, broker.client.post(USER, json=HUDA), 403)
    await refused(broker, onboarding(broker), 403)
