"""What a new contract must not be: every refusal names the field as the caller wrote it."""

import json
import random
from collections import Counter
from typing import Any

import httpx
import pytest
from litestar import Litestar

from deal import HUDA, MILESTONES, OMAR, TERMS, Deal
from dealing import failure, refused
from partners import Broker, make_broker
from test_partner_create import CONTRACTS, create

LATER = "2032-01-01T00:00:00Z"
FAILED = "Validation failed"
IN_UTC = "must be an ISO 8601 instant in UTC such as 2026-06-01T00:00:00.000Z"
IN_FUTURE = "must be in the future, within 10 years"
RANGE = "A number is out of range."


def milestone(amount: Any, **other: Any) -> dict[str, Any]:
    return {"Name": "Part", "Amount": amount, "DueDate": LATER} | other


async def raw(broker: Broker, text: str) -> httpx.Response:
    """A body with numbers and keys as no JSON library would write them."""
    headers = {"Content-Type": "application/json"}
    return await broker.client.post(CONTRACTS, content=text.encode(), headers=headers)


def text_of(**other: str) -> str:
    """TERMS as JSON, with these fields as raw JSON texts."""
    fields = {name: json.dumps(value) for name, value in TERMS.items()} | other
    return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


# -- fields -------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str, str | None]] = [
    ({"title": " "}, "title", "must not be empty"),
    ({"title": "x" * 201}, "title", None),
    ({"title": 7}, "title", None),
    ({"title": "two\nlines"}, "title", None),
    ({"contractServiceType": "Rent"}, "contractServiceType", "must be Product or Service"),
    ({"contractServiceType": 1}, "contractServiceType", None),
    ({"description": "x" * 5_001}, "description", "must be at most 5000 characters long"),
    ({"notes": ["x"]}, "notes", None),
    ({"reference": "x" * 201}, "reference", None),
    ({"metaData": []}, "metaData", None),
    ({"metaData": {"METADATA2": 2}}, "metaData.METADATA2", None),
    ({"metaData": {"Metadata1": "x" * 501}}, "metaData.Metadata1", None),
    ({"BuyerParty": "Huda"}, "BuyerParty", None),
    ({"BuyerParty": {}}, "BuyerParty.phoneNumber", "is required without a platformRefId"),
    (
        {"BuyerParty": {"phoneNumber": "966583944460", "firstName": "Huda"}},
        "BuyerParty.lastName",
        "is required without a platformRefId",
    ),
    ({"BuyerParty": HUDA | {"firstName": ""}}, "BuyerParty.firstName", None),
    ({"SellerParty": OMAR | {"phoneNumber": "+966583944461"}}, "SellerParty.phoneNumber", None),
    ({"SellerParty": OMAR | {"phoneNumber": "٩٦٦٥٨٣٩٤٤٤٦١"}}, "SellerParty.phoneNumber", None),
    ({"SellerParty": OMAR | {"phoneNumber": 966583944461}}, "SellerParty.phoneNumber", None),
    ({"SellerParty": {"platformRefId": "USR_1"}}, "SellerParty.platformRefId", "is not known"),
    ({"SellerParty": {"platformRefId": "456"}}, "SellerParty.platformRefId", None),
    ({"SellerParty": {"platformRefId": "USR_1\n"}}, "SellerParty.platformRefId", None),
    ({"Milestones": {}}, "Milestones", None),
    ({"Milestones": [7]}, "Milestones[0]", None),
    ({"Milestones": [milestone(1000)] * 101}, "Milestones", None),
    ({"Milestones": [milestone(500, Name=" "), milestone(500)]}, "Milestones[0].Name", None),
]


async def test_it_names_the_field_that_is_wrong(broker: Broker) -> None:
    for other, field, says in WRONG:
        asked = create(broker, TERMS | other)
        await refused(broker, asked, 400, FAILED, field=field, says=says)


@pytest.mark.abuse(13)
async def test_it_names_the_field_that_is_missing(broker: Broker) -> None:
    for name in ("title", "contractServiceType", "BuyerParty", "SellerParty", "amount"):
        body = {key: value for key, value in TERMS.items() if key != name}
        await refused(broker, create(broker, body), 400, FAILED, field=name, says="is required")
    for name in ("Name", "Amount", "DueDate"):
        part = {key: value for key, value in milestone(500).items() if key != name}
        body = {**TERMS, "Milestones": [milestone(500), part]}
        await refused(broker, create(broker, body), 400, FAILED, field=f"Milestones[1].{name}")
    for empty in (b"", b"null", b"[]", b"{}"):
        headers = {"Content-Type": "application/json"}
        asked = broker.client.post(CONTRACTS, content=empty, headers=headers)
        await refused(broker, asked, 400)


async def test_it_spells_the_field_as_the_caller_did(broker: Broker) -> None:
    for name in ("amount", "AMOUNT", "aMount"):
        body = {key: value for key, value in TERMS.items() if key != "amount"} | {name: 0}
        asked = create(broker, body)
        await refused(broker, asked, 400, field=name, says="must be greater than 0")
    parts = [milestone(500), {"NAME": "x", "amOUNT": 500, "dueDATE": "soon"}]
    asked = create(broker, TERMS | {"mileSTONES": parts})
    await refused(broker, asked, 400, field="mileSTONES[1].dueDATE", says=IN_UTC)
    body = {key: value for key, value in TERMS.items() if key != "BuyerParty"}
    asked = create(broker, body | {"buyerPARTY": {"PHONENUMBER": "x", "FIRSTname": "Huda"}})
    says = "is required without a platformRefId"
    await refused(broker, asked, 400, field="buyerPARTY.lastName", says=says)
    asked = create(broker, body | {"buyerPARTY": {"PLATFORMrefId": "USR_1"}})
    await refused(broker, asked, 400, field="buyerPARTY.PLATFORMrefId", says="is not known")


# -- amounts ------------------------------------------------------------------------------------


@pytest.mark.abuse(22, 29)
async def test_it_refuses_amounts_that_nobody_could_pay(broker: Broker) -> None:
    """A megabyte of digits is 413: no body is that long."""
    for literal in ("1e309", "1e999999", "-1e309", "9" * 5_000, "1e-400"):
        for body in (text_of(amount=literal), milestones_of(literal)):
            await refused(broker, raw(broker, body), 400)
    for literal in ("1000000", "999999.995", "1e6"):
        await refused(broker, raw(broker, text_of(amount=literal)), 400, field="amount")
    await refused(broker, raw(broker, text_of(amount="9" * 1_000_000)), 413)


def milestones_of(literal: str) -> str:
    part = f'{{"Name":"x","DueDate":"{LATER}","Amount":'
    return text_of(Milestones=f"[{part}{literal}}},{part}500}}]")


@pytest.mark.abuse(23, 25, 26, 28)
async def test_it_refuses_what_is_no_amount_of_the_currency(broker: Broker) -> None:
    for literal, says in (
        ('"100"', None),
        ('" 1 "', None),
        ('"1_000"', None),
        ("true", None),
        ("null", None),
        ("[100]", None),
        ('{"$gt":0}', None),
        ("0", "must be greater than 0"),
        ("-0", "must be greater than 0"),
        ("-0.0", "must be greater than 0"),
        ("-0.01", "must be greater than 0"),
        ("0.30000000000000004", "must have at most 2 decimals in SAR"),
        ("10.005", "must have at most 2 decimals in SAR"),
    ):
        asked = raw(broker, text_of(amount=literal))
        await refused(broker, asked, 400, FAILED, field="amount", says=says)
        asked = raw(broker, milestones_of(literal))
        await refused(broker, asked, 400, FAILED, field="Milestones[0].Amount", says=says)
    for literal in ("NaN", "Infinity", "01", "+1", ".5", "1."):
        await refused(broker, raw(broker, text_of(amount=literal)), 400)


@pytest.mark.abuse(31)
async def test_an_exponent_is_the_number_that_it_writes(broker: Broker) -> None:
    """1e2 is 100, as on the marketplace (D20)."""
    answer = await raw(broker, text_of(amount="1e2"))
    deal = Deal(broker, answer.json()["data"])
    shown = await deal.shown()
    assert shown["amount"] == 100
    await deal.pay()
    proof = await deal.proof()
    assert (proof["held"], proof["holds"]) == (114.38, True)


@pytest.mark.abuse(28)
async def test_it_does_not_confuse_the_exponents_of_currencies(app: Litestar) -> None:
    """A yen has no parts, a dinar has a thousand; both have their own limits."""
    yen = await make_broker(app, "Kyoto", currency="JPY")
    dinar = await make_broker(app, "Kuwait", currency="KWD")
    for literal in ("0.5", "100.01", "1.10"):
        says = "must have at most 0 decimals in JPY"
        await refused(yen, raw(yen, text_of(amount=literal)), 400, field="amount", says=says)
    for literal in ("0.0005", "1.00001"):
        says = "must have at most 3 decimals in KWD"
        await refused(dinar, raw(dinar, text_of(amount=literal)), 400, field="amount", says=says)
    for broker, literal, amount, charge in (
        (yen, "1000", 1000, 1144),  # 25 + 4 + 100 + 15
        (yen, "1000.00", 1000, 1144),
        (yen, "999999", 999999, 1143749),
        (dinar, "0.001", 0.001, 0.001),
        (dinar, "100.005", 100.005, 114.381),
        (dinar, "999999.999", 999999.999, 1143749.999),
    ):
        answer = await raw(broker, text_of(amount=literal))
        assert answer.status_code == 200, answer.text
        deal = Deal(broker, answer.json()["data"])
        assert (await deal.shown())["amount"] == amount
        assert sum(line["amount"] for line in deal.made["pricingLineItems"][:5]) == pytest.approx(
            charge
        )
    for broker, literal in ((yen, "1000000"), (dinar, "1000000"), (dinar, "1000000.001")):
        await refused(broker, raw(broker, text_of(amount=literal)), 400, field="amount")


# -- milestones ---------------------------------------------------------------------------------


@pytest.mark.abuse(34)
async def test_milestones_make_up_the_amount_and_none_of_them_alone(broker: Broker) -> None:
    less = "must be less than the contract's amount"
    for parts, field, says in (
        ([milestone(1000)], "Milestones[0].Amount", less),
        ([milestone(1000), milestone(1000)], "Milestones[0].Amount", less),
        ([milestone(1), milestone(1000)], "Milestones[1].Amount", less),
        ([milestone(1001), milestone(1)], "Milestones[0].Amount", less),
        ([milestone(0), milestone(1000)], "Milestones[0].Amount", "must be greater than 0"),
        ([milestone(1100), milestone(-100)], "Milestones[1].Amount", "must be greater than 0"),
        ([milestone(999)], "Milestones", "must have amounts that sum to the contract's amount"),
        ([milestone(500), milestone(499.99)], "Milestones", None),
        ([milestone(500), milestone(500.01)], "Milestones", None),
    ):
        asked = create(broker, TERMS | {"Milestones": parts})
        await refused(broker, asked, 400, FAILED, field=field, says=says)


@pytest.mark.abuse(35)
async def test_a_due_date_is_a_moment_to_come_in_utc(broker: Broker) -> None:
    for text, says in (
        ("2032-01-01T00:00:00", IN_UTC),
        ("2032-01-01T00:00:00+03:00", IN_UTC),
        ("2032-01-01T00:00:00z", IN_UTC),
        ("2032-01-01 00:00:00Z", IN_UTC),
        ("2032-01-01", IN_UTC),
        ("2032-01-01T00:00:00Z ", IN_UTC),
        ("2032-01-01T00:00:00.Z", IN_UTC),
        ("2031-02-29T00:00:00Z", IN_UTC),
        ("2032-01-01T24:00:00Z", IN_UTC),
        ("2032-01-01T00:00:60Z", IN_UTC),
        ("٢٠٣٢-01-01T00:00:00Z", IN_UTC),
        ("", IN_UTC),
        ("9999-12-31T23:59:59Z", IN_FUTURE),
        ("0001-01-01T00:00:00Z", IN_FUTURE),
        ("2020-01-01T00:00:00Z", IN_FUTURE),
    ):
        parts = [milestone(500), milestone(500, DueDate=text)]
        asked = create(broker, TERMS | {"Milestones": parts})
        await refused(broker, asked, 400, FAILED, field="Milestones[1].DueDate", says=says)
    for wrong in (None, 7, 1893456000, {"$date": LATER}):
        parts = [milestone(500), milestone(500, DueDate=wrong)]
        asked = create(broker, TERMS | {"Milestones": parts})
        await refused(broker, asked, 400, FAILED, field="Milestones[1].DueDate")


# -- twins --------------------------------------------------------------------------------------


@pytest.mark.abuse(4, 5)
async def test_it_refuses_a_key_that_stands_twice(broker: Broker) -> None:
    for body in (
        text_of() [:-1] + ',"amount":99999}',
        text_of() [:-1] + ',"\\u0061mount":2}',
        text_of(BuyerParty=json.dumps(HUDA)[:-1] + ',"firstName":"Mallory"}'),
        text_of() [:-1] + ',"other":{"x":1,"x":2}}',
    ):  # fmt: skip
        await refused(broker, raw(broker, body), 400)


@pytest.mark.abuse(6)
async def test_it_refuses_names_that_differ_in_their_case_alone(broker: Broker) -> None:
    """However deep, and whether we know them or not: nobody may read another value than we do."""
    says = "is there twice, but for upper and lower case"
    first, second = MILESTONES
    for other, field in (
        ({"Amount": 1}, "Amount"),
        ({"AMOUNT": 1000}, "AMOUNT"),
        ({"buyerParty": OMAR}, "buyerParty"),
        ({"BuyerParty": HUDA | {"FirstName": "Mallory"}}, "BuyerParty.FirstName"),
        ({"BuyerParty": HUDA | {"KYC": 1, "kyc": 1}}, "BuyerParty.kyc"),
        ({"Milestones": [first, second | {"name": "x"}]}, "Milestones[1].name"),
        ({"metaData": {"metadata1": "1", "MetaData1": "2"}}, "metaData.MetaData1"),
        ({"unknown": 1, "Unknown": 1}, "Unknown"),
        ({"unknown": [[{"a": {"b": 1, "B": 2}}]]}, "unknown[0][0].a.B"),
        ({"stra\u00dfe": 1, "STRASSE": 1}, "STRASSE"),
    ):
        asked = create(broker, TERMS | other)
        await refused(broker, asked, 400, FAILED, field=field, says=says)


async def test_a_letter_that_only_looks_the_same_binds_nothing(broker: Broker) -> None:
    """U+017F and U+212A fold to s and k: names that are not ASCII are nobody's."""
    body = {key: value for key, value in TERMS.items() if key != "contractServiceType"}
    asked = create(broker, body | {"contract\u017ferviceType": "Service"})
    await refused(broker, asked, 400, field="contractServiceType", says="is required")


# -- texts --------------------------------------------------------------------------------------


@pytest.mark.abuse(20, 119)
async def test_it_refuses_what_cannot_be_seen_in_any_text(broker: Broker) -> None:
    for bad in ("a\u0000b", "a\u0085b", "a\u202eb", "a\u2066b", "a\u001bb"):
        for other, field in (
            ({"title": bad}, "title"),
            ({"description": bad}, "description"),
            ({"reference": bad}, "reference"),
            ({"metaData": {"METADATA1": bad}}, "metaData.METADATA1"),
            ({"BuyerParty": HUDA | {"firstName": bad}}, "BuyerParty.firstName"),
            ({"SellerParty": OMAR | {"lastName": bad}}, "SellerParty.lastName"),
            ({"Milestones": [milestone(500), milestone(500, Name=bad)]}, "Milestones[1].Name"),
            ({"callbackUrl": f"https://broker.example/{bad}"}, "callbackUrl"),
        ):
            says = "must not contain control or invisible characters"
            asked = create(broker, TERMS | other)
            await refused(broker, asked, 400, FAILED, field=field, says=says)
        await refused(broker, create(broker, TERMS | {bad: 1}), 400)
    for literal in (r'"\ud800"', r'"a\u0000"', r'"\u202e"'):
        await refused(broker, raw(broker, text_of(title=literal)), 400, field="title")
    marks = "a" + "\u0301" * 10_000
    for other, field in (
        ({"description": marks}, "description"),
        ({"BuyerParty": HUDA | {"firstName": marks[:90]}}, "BuyerParty.firstName"),
    ):
        says = "must not pile up more than 30 marks"
        await refused(broker, create(broker, TERMS | other), 400, field=field, says=says)


@pytest.mark.abuse(119)
async def test_markup_is_a_text_like_any_other(broker: Broker) -> None:
    for text in ("<script>alert(1)</script>", '"><img onerror=x>', "{{7*7}}", "هدى", "हुदा"):
        deal = await Deal.begin(
            broker, title=text, metaData={"metadata1": text}, description=f"{text}\n{text}"
        )
        shown = await deal.shown()
        assert (shown["title"], shown["metaData"]["metadata1"]) == (text, text)
        assert shown["description"] == f"{text}\n{text}"


# -- where the buyer goes afterwards ------------------------------------------------------------


@pytest.mark.abuse(118)
async def test_a_callback_leads_nowhere_but_to_an_allowed_host(
    app: Litestar, broker: Broker
) -> None:
    strict = await make_broker(app, "Strict", callback_hosts=["shop.example", "Pay.Example"])
    everywhere = (
        *("javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,x", "//evil.example"),
        *("http://evil.example", "ftp://evil.example", "file:///etc/passwd", "/back", "evil"),
        *("https://", "https:///back", "https:evil.example", "https:\\\\evil.example"),
        *("https://alice@evil.example", "https://alice:secret@evil.example", "https://@e.example"),
        *("https://good.example\\@evil.example", "https://good.example\\.evil.example"),
        *("https://evil.example:99999", "https://evil.example/<script>", 'https://e.example/"'),
        *(" https://evil.example", "https://evil.example/\n", "https://evil.example/ x"),
        *("https://\u0435vil.example", "https://evil\u3002example", "https://[::1", "https://[x]/"),
        *("https://evil.example.", "https://.example", "https://-", "https://*.example"),
        *(
            "https://a;sandbox",
            "https://a,b.example",
            "https://'none'",
            "https://a$b",
            "https://a_b",
        ),
        *("https://evil%2eexample", "https://e.example[shop.example]", "https://[v1.x]"),
        *(
            "https://[::1%25lo]/",
            "https://e.example:",
            "https://e.example:0",
            "https://2130706433/",
        ),
        *("https://0x7f.1/", "https://127.1/", "http://localhost./", "http://127.1/"),
        "https://evil.example/" + "x" * 2_048,
    )
    for who in (broker, strict):
        for url in everywhere:
            await refused(who, create(who, TERMS | {"callbackUrl": url}), 400)
    for url in ("https://evil.example/", "https://shop.example.evil.example", "https://127.0.0.1/"):
        asked = create(strict, TERMS | {"callbackUrl": url})
        await refused(strict, asked, 400, FAILED, field="callbackUrl")
    await refused(strict, create(strict, TERMS | {"callbackUrl": 7}), 400, field="callbackUrl")
    for who, url in (
        (broker, "https://any.example:8443/back?a=1#b"),
        (broker, "http://127.0.0.1:9000/back"),
        (broker, "http://[::1]:9000/back"),
        (broker, "https://93.184.216.34/back"),
        (broker, "https://xn--e1awd7f.example"),
        (strict, "https://SHOP.example/back"),
        (strict, "https://pay.example"),
    ):
        answer = await create(who, TERMS | {"callbackUrl": url})
        assert answer.status_code == 200, answer.text


# -- anything at all ----------------------------------------------------------------------------


async def test_nothing_that_is_sent_is_ever_our_fault(broker: Broker) -> None:
    """One to three places of a good body with each of many values, whatever stood there."""
    dice = random.Random(7)
    values: list[Any] = [None, True, 0, -1, 1.5, 10**30, "", "x" * 300, [], [[]], {}, {"a": {}}]
    values += ["\u202e", "' OR 1=1--", "USR_", "2032-01-01T00:00:00Z", 10**400]
    answered: Counter[int] = Counter()
    for _ in range(300):
        body = json.loads(json.dumps({**TERMS, "Milestones": MILESTONES}))
        places = [body, body["BuyerParty"], *body["Milestones"], body["metaData"]]
        for _ in range(dice.randint(1, 3)):
            place = dice.choice(places)
            place[dice.choice([*place, "x"])] = dice.choice(values)
        answer = await create(broker, body)
        answered[answer.status_code] += 1
        if answer.status_code != 200:
            failure(answer, 400)
    assert set(answered) == {200, 400}
