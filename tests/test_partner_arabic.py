"""Everything that the partner API may say, it can say in Arabic (E11).

What it may say is read from the program itself: the refusals that its routes declare, those that
any route may come to, and every expectation that stands in the sources behind them.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

import earnest
from earnest import errors
from earnest.domain.party import Role
from earnest.errors import EarnestError, InvalidField
from earnest.partner.arabic import NOUNS, PATTERNS, SENTENCES
from earnest.partner.languages import arabic
from earnest.store import db, idempotency
from earnest.web import guard, problems
from earnest.web.auth import access_of
from partners import Broker

SOURCES = (
    *("partner/*.py", "actions/brokerage.py", "actions/checkout.py", "domain/identity.py"),
    *("actions/payout_accounts.py", "domain/withdrawing.py"),
    *("domain/partner.py", "domain/returning.py", "outbound/targets.py", "store/accounts.py"),
    *("web/guard.py", "web/idempotency.py", "web/shapes.py", "web/problems.py", "store/db.py"),
)
# Of domain/money.py the readers of amounts only: currencies are the operator's.
NOT_SAID = ("must be an ISO 4217 code such as INR or SAR",)
LETTERS = re.compile("[\u0621-\u064a]")


# -- what may be said ---------------------------------------------------------------------------


def refusals(app: Litestar) -> Iterator[type[EarnestError]]:
    """What the routes of partners declare, and what any route may come to."""
    for route in app.routes:
        assert isinstance(route, HTTPRoute)
        for handler in route.route_handlers:
            if "access" in handler.opt and access_of(handler).roles == {Role.PARTNER}:
                yield from handler.opt.get("refuses", ())
    yield from (errors.Unauthenticated, errors.InvalidToken, errors.Forbidden, errors.NotFound)
    yield from (errors.Conflict, errors.IdempotencyKeyReused, errors.TooMany, errors.Unavailable)
    yield from (errors.Invalid, errors.Refused, errors.MalformedBody, errors.OutcomeUnknown)
    yield from (guard.BodyTooLarge, guard.UnsupportedMediaType, problems.DatabaseLost)
    yield from (idempotency.ReplyGone,)


def texts(node: ast.expr) -> Iterator[str]:
    """The text of an expression, with 7 (or SAR, after "in") where something is put into it."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=values):
            made = ""
            for part in values:
                if isinstance(part, ast.Constant):
                    made += str(part.value)
                elif made.endswith(" in "):
                    made += "SAR"
                elif "what" in ast.unparse(part):
                    made += "digits"
                elif made.endswith("must be ") and len(values) > 2:
                    made += "SA"
                else:
                    made += "7"
            yield made
        case ast.IfExp(body=one, orelse=other):
            yield from texts(one)
            yield from texts(other)


def expectations() -> Iterator[tuple[str, str]]:
    """Every second argument of an InvalidField, every `expected`, and every text of an error."""
    root = Path(earnest.__file__).parent
    paths = [path for pattern in SOURCES for path in sorted(root.glob(pattern))]
    assert len(paths) > 20
    for path in [*paths, root / "domain/money.py"]:
        for node in ast.walk(ast.parse(path.read_text())):
            for text in said_by(node):
                if text not in NOT_SAID:
                    yield path.name, text


def said_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("expected", "says"):
        yield from texts(node.value)
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func).rpartition(".")[2]
    if name in ("InvalidField", "InvalidContractId") and len(node.args) == 2:
        yield from texts(node.args[1])
    if name in ("MalformedBody", "Forbidden", "Unauthenticated", "Unavailable") and node.args:
        yield from texts(node.args[0])


BY_MSGSPEC = (
    "Object missing required field `title`",
    "Expected `str`, got `int` - at `$.title`",
    "Expected `int | str | null`, got `bool` - at `$.milestoneId`",
    "Expected `decimal | int`, got `str` - at `$.amount`",
    "Expected `object`, got `array` - at `$.BuyerParty`",
    "Expected `array`, got `null` - at `$.Milestones`",
    "Expected `object`, got `str`",
    "Expected `str` of length <= 200 - at `$.title`",
    "Expected `str` of length >= 1 - at `$.title`",
    "Expected `array` of length <= 100 - at `$.Milestones`",
    "Expected `array` of length >= 1 - at `$.Milestones`",
    "Expected `str` matching regex 'x' - at `$.title`",
    "Invalid enum value 'x' - at `$.type`",
    "Expected `int` <= 100 - at `$.page`",
    "Expected `int` >= 1 - at `$.page`",
    "Something else - at `$.page`",
)


# -- it is said in Arabic -----------------------------------------------------------------------


def assert_arabic(text: str, where: str = "") -> None:
    told = arabic(text)
    assert told != text, f"no Arabic for {text!r} ({where})"
    assert LETTERS.search(told)
    # What is left in Latin letters are names that are the same in every language.
    english = set(re.findall(r"[a-z]{2,}", told)) - NAMES
    assert not english, f"{told}: {english}"


NAMES = {
    *("https", "http", "buyer", "seller", "platform", "ref", "application", "json"),
    *("product", "service", "ontent", "ncoding", "dempotency", "ey", "atform", "ef", "latform"),
    *("roduct", "ervice"),
}


async def test_every_refusal_of_the_routes_has_its_arabic(app: Litestar) -> None:
    found = {one for one in refusals(app) if one is not InvalidField}
    assert len(found) > 40
    for refusal in found:
        assert_arabic(" ".join((refusal.__doc__ or "").split()), refusal.__name__)


def test_every_expectation_in_the_sources_has_its_arabic() -> None:
    found = list(expectations())
    assert len(found) > 70
    for where, text in found:
        assert_arabic(text, where)


@pytest.mark.parametrize("message", BY_MSGSPEC)
def test_whatever_does_not_bind_is_explained_in_arabic(message: str) -> None:
    told = guard._explain(message)
    assert_arabic(told.expected if isinstance(told, InvalidField) else told.message, message)


def test_what_the_framework_refuses_has_its_arabic() -> None:
    for text in (*problems._LITESTAR.values(), "Internal server error", db.SHUTTING_DOWN):
        assert_arabic(text)


def test_a_body_that_is_no_json_is_explained_in_arabic() -> None:
    for content in (
        b"{", b'{"a":1,}', b"[1", b"\xff", b"\xef\xbb\xbf{}", b'{"a":1,"a":2}', b"1" * 50,
        b"1e99999", b"NaN", b"[" * 40 + b"]" * 40, b'"\\u0000"',
    ):  # fmt: skip
        with pytest.raises(EarnestError) as refused:
            guard.read_json(content)
        assert_arabic(refused.value.message, repr(content[:20]))


# -- and well -----------------------------------------------------------------------------------


async def test_nothing_is_translated_that_nobody_says(app: Litestar) -> None:
    said = {" ".join((one.__doc__ or "").split()) for one in refusals(app)}
    said |= {text for _, text in expectations()} | set(problems._LITESTAR.values())
    for path in Path(earnest.__file__).parent.rglob("*.py"):
        if path.name != "arabic.py":
            nodes = ast.walk(ast.parse(path.read_text()))
            said |= {
                " ".join(node.value.split())
                for node in nodes
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
    assert [text for text in SENTENCES if text not in said and not text[0].islower()] == []


def test_no_sentence_has_a_letter_that_turns_its_direction() -> None:
    hidden = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
    for told in (*SENTENCES.values(), *(text for _, text in PATTERNS), *NOUNS.values()):
        assert not hidden.search(told)
        assert told == told.strip() or told in (" أو ", "، ")


TOLD = [
    ("must be a number, not a string", "يجب أن يكون عددًا وليس نصًا"),
    (
        "must be a whole number or a string, not true or false",
        "يجب أن يكون عددًا صحيحًا أو نصًا وليس قيمة منطقية",
    ),
    ("must have at most 2 decimals in SAR", "يجب ألا تزيد منازله العشرية على 2 لأن العملة SAR"),
    ("must have at most 0 decimals in JPY", "يجب أن يكون بلا منازل عشرية لأن العملة JPY"),
    ("must be at most 999999.99", "يجب ألا يزيد على 999999.99"),
]


@pytest.mark.parametrize(("english", "told"), TOLD)
def test_it_reads_as_a_sentence(english: str, told: str) -> None:
    assert arabic(english) == told


async def test_a_refusal_is_in_arabic_as_a_whole(broker: Broker) -> None:
    headers = {"Accept-Language": "ar"}
    body: dict[str, Any] = {"TITLE": 7}
    answer = await broker.client.post("/apps/api/contracts", json=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json() == {
        "message": "فشل التحقق من صحة البيانات",
        "status": 400,
        "validationErrors": [
            {"field": "TITLE", "message": "TITLE يجب أن يكون نصًا وليس عددًا صحيحًا"}
        ],
        "succeeded": False,
        "errors": ["TITLE يجب أن يكون نصًا وليس عددًا صحيحًا"],
    }
    english = await broker.client.post("/apps/api/contracts", json=body)
    assert english.json()["errors"] == ["TITLE must be a string, not a whole number"]
