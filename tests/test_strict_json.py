"""Bodies: one JSON text in UTF-8 that means one thing, or 400 (abuse cases 1 to 31)."""

import json
import time
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.errors import EarnestError, MalformedBody
from earnest.store.db import Pool
from earnest.web.guard import read_json
from web import Cast, problem

CREATE = "/api/client/job/create-job"
JSON = {"content-type": "application/json"}


async def send(cast: Cast, content: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
    return await cast.alice.post(CREATE, content=content, headers=headers or JSON)


async def job_count(pool: Pool) -> int:
    async with pool.connection() as conn:
        count: int = await conn.fetchval("SELECT count(*) FROM job")
        return count


def with_rate(cast: Cast, literal: str) -> bytes:
    return json.dumps(cast.job(rate=424242)).replace("424242", literal).encode()


def with_title(cast: Cast, literal: str) -> bytes:
    return json.dumps(cast.job(title="424242")).replace('"424242"', literal).encode()


UNCLEAN = [
    b'{"rate":1,}',
    b"{'rate':1}",
    b'{"rate":1} x',
    b'{"rate":1}{}',
    b'{"rate":1',
    b"\xff\xfe",
    b'{"title":"\xc0\xaf"}',
    b'{"title":"\xed\xa0\x80"}',
    b'\xef\xbb\xbf{"rate":1}',
    '{"rate":1}'.encode("utf-16"),
    b'{"rate":1,"rate":99999}',
    b'{"rate":1,"\\u0072ate":2}',
    b'{"a":{"b":1,"b":1}}',
    b'[{"b":1,"b":1}]',
    b'{"rate":NaN}',
    b'{"rate":Infinity}',
    b'{"rate":-Infinity}',
    b'{"rate":01}',
    b'{"rate":+1}',
    b'{"rate":.5}',
    b'{"rate":0x10}',
    b'{"rate":1_000}',
    b"nul",
    b"[]",
    b'"text"',
    b"7",
    b"null",
    b'{"title":"a\x00b"}',
    b'{"title":"a\nb"}',
    b'{"title":"\\u0000"}',
    b'{"title":"\\ud800"}',
    b'{"title":"\\udc00\\ud800"}',
    b'{"title":"\\u0085"}',
    b'{"title":"\\b"}',
    b'{"title":"\\u202e"}',
    '{"title":"\u202e"}'.encode(),
    '{"title":"\u2066"}'.encode(),
    '{"title":"\u009b"}'.encode(),
    b'{"title":"\x7f"}',
    b'{"\\u0000":1}',
    b'{"nested":[["\\u202e"]]}',
    b"[" * 33 + b"]" * 33,
    b"[" * 30_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
]


async def test_it_refuses_what_is_not_one_clean_json_object(cast: Cast, pool: Pool) -> None:
    for content in UNCLEAN:
        problem(await send(cast, content), 400)
        assert await job_count(pool) == 0


NO_AMOUNT = [
    "1e309",
    "1e999999",
    "1e-999999",
    "1E+31",
    "1e31",
    "-1e31",
    "9" * 5_000,
    "0." + "9" * 5_000,
    "9" * 60_000,
    "1e" + "9" * 50_000,
    '"100"',
    '" 1 "',
    '"1_000"',
    '"NaN"',
    "true",
    "null",
    "[100]",
    '{"$gt":0}',
    "0",
    "-0",
    "0.0",
    "-0.01",
    "0.001",
    "0.30000000000000004",
    "1000000",
    "999999.991",
    "1e-30",
]


async def test_it_refuses_what_is_no_amount(cast: Cast, pool: Pool) -> None:
    for literal in NO_AMOUNT:
        content = with_rate(cast, literal)
        began = time.process_time()
        answer = await send(cast, content)
        took_seconds = time.process_time() - began
        body = problem(answer, 400)
        assert body.get("field", "rate") == "rate"
        assert took_seconds < 0.5
        assert await job_count(pool) == 0


@pytest.mark.parametrize("literal", ["9" * 60_000, "1e" + "9" * 60_000, "0." + "0" * 60_000])
def test_it_refuses_huge_numbers_without_building_them(literal: str) -> None:
    body = f'{{"rate":{literal}}}'.encode()
    began = time.process_time()
    with pytest.raises(EarnestError):
        read_json(body)
    assert time.process_time() - began < 0.01


async def test_it_takes_every_honest_text(cast: Cast) -> None:
    for literal, title in (
        ('"\\u0928\\u092e\\u0938\\u094d\\u0924\\u0947"', "\u0928\u092e\u0938\u094d\u0924\u0947"),
        ('"\\ud83c\\udf70 Cake"', "\U0001f370 Cake"),
        ('"caf\\u0065\\u0301"', "caf\u00e9"),
        ('"\\"quoted\\" \\\\ \\/"', '"quoted" \\ /'),
        ('"<script>alert(1)</script>"', "<script>alert(1)</script>"),
    ):
        answer = await send(cast, with_title(cast, literal))
        assert answer.status_code == 200, answer.text
        assert answer.json()["job"]["title"] == title
    answer = await cast.alice.post(CREATE, json=cast.job(description="one\n\ttwo\r\n"))
    assert answer.json()["job"]["description"] == "one\n\ttwo"


NOT_JSON = [
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-7",
    "application/json; charset=utf-16",
    "application/json;charset=latin-1",
    "application/jsonx",
    "application/problem+json",
    "",
]


async def test_it_wants_the_content_type_of_json(cast: Cast, pool: Pool) -> None:
    for content_type in NOT_JSON:
        content = json.dumps(cast.job()).encode()
        problem(await send(cast, content, {"content-type": content_type}), 415)
        assert await job_count(pool) == 0


UTF8 = [
    "application/json; charset=utf-8",
    'application/json;charset="UTF-8"',
    "Application/JSON",
    "application/json ; charset=utf8",
]


async def test_it_takes_utf8_by_any_name(cast: Cast) -> None:
    for content_type in UTF8:
        content = json.dumps(cast.job()).encode()
        assert (await send(cast, content, {"content-type": content_type})).status_code == 200


async def test_it_takes_no_compressed_body(cast: Cast) -> None:
    content = json.dumps(cast.job()).encode()
    for encoding in ("gzip", "deflate", "br", "x"):
        problem(await send(cast, content, JSON | {"content-encoding": encoding}), 415)


async def test_it_takes_64_kib_and_not_a_byte_more(cast: Cast, pool: Pool) -> None:
    content = json.dumps(cast.job()).encode()
    assert (await send(cast, content.ljust(64 * 1024))).status_code == 200
    problem(await send(cast, content.ljust(64 * 1024 + 1)), 413)

    async def pieces() -> Any:
        for _ in range(1024):
            yield b" " * 1024

    problem(await cast.alice.post(CREATE, content=pieces(), headers=JSON), 413)
    assert await job_count(pool) == 1


async def test_it_names_the_first_field_of_a_missing_body(cast: Cast) -> None:
    answer = await cast.olga.post("/api/admin/skills/add-skills")
    assert problem(answer, 400)["field"] == "name"
    answer = await cast.olga.post("/api/admin/skills/add-skills", headers=JSON)
    assert problem(answer, 400)["error"] == "name is required"
    answer = await cast.olga.post("/api/admin/skills/add-skills", json={})
    assert problem(answer, 400)["field"] == "name"
    answer = await cast.alice.post(CREATE)
    assert problem(answer, 400)["error"] == "Send a JSON object."


async def test_it_ignores_a_body_where_none_is_asked_for(cast: Cast) -> None:
    for content in (b"", b"{}", b"{"):
        job = await cast.post_job()
        answer = await cast.bob.post(
            f"/api/freelancer/jobs/apply-job/{job}", content=content, headers=JSON
        )
        assert answer.status_code == 201


# -- the reader against an oracle -----------------------------------------------------------

_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.text(st.characters(min_codepoint=0x20, exclude_categories=("Cs", "Cc", "Cf")))
)
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner), max_leaves=20
)


@given(_values, st.booleans())
def test_it_reads_what_json_says(value: Any, ascii_only: bool) -> None:
    assert read_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.decimals(-(10**9), 10**9, places=4))
def test_it_reads_decimals_exactly(value: Decimal) -> None:
    assert read_json(str(value).encode()) == value


@given(st.binary(max_size=200))
def test_it_reads_bytes_or_refuses_them(body: bytes) -> None:
    try:
        value = read_json(body)
    except MalformedBody:
        return
    assert json.loads(body, parse_float=Decimal) == value
