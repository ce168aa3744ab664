"""Searching: what was typed is looked for, letter by letter, whatever it means elsewhere (row 70).

Every route with a `search` is asked, on a shelf full of names that patterns would confuse.
"""

import unicodedata
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from digest import digest
from earnest.domain.party import Role
from earnest.store.db import Pool
from life import accepted
from routes import World, routes
from web import Cast, problem, sign_up

NAMES = (
    "Plain",
    "100% wool",
    "100x wool",
    "snake_case",
    "snakeXcase",
    "back\\slash",
    "(a+)+$",
    "aaaaaaaa",
    "[a-z]*.?^|{2}",
    "o'Brien",
    'say "hi"',
    "' OR 1=1--",
    "semi;colon",
    "a/*b*/c",
    "{{7*7}}",
    "<b>bold</b>",
    "$where",
    "%00",
    "Cafe\u0301",
    "STRASSE",
    "\u0939\u093f\u0928\u094d\u0926\u0940",
    "\U0001f4b8 money",
    "undefined behaviour",
)
# What is typed, and the names that hold it; case does not matter.
FINDS: dict[str, tuple[str, ...]] = {
    "%": ("100% wool", "%00"),
    "%%": (),
    "100%": ("100% wool",),
    "100% w": ("100% wool",),
    "_": ("snake_case",),
    "e_c": ("snake_case",),
    "\\": ("back\\slash",),
    "\\\\": (),
    "\\s": ("back\\slash",),
    "\\%": (),
    "%_\\": (),
    "(a+)+$": ("(a+)+$",),
    "(A+)+$": ("(a+)+$",),
    ".": ("[a-z]*.?^|{2}",),
    ".*": (),
    "*.?^|": ("[a-z]*.?^|{2}",),
    "^": ("[a-z]*.?^|{2}",),
    "[a-z]": ("[a-z]*.?^|{2}",),
    "{2}": ("[a-z]*.?^|{2}",),
    "$": ("(a+)+$", "$where"),
    "'": ("o'Brien", "' OR 1=1--"),
    "''": (),
    '"': ('say "hi"',),
    "' or 1=1--": ("' OR 1=1--",),
    "' UNION SELECT password_hash FROM login--": (),
    "'; DROP TABLE job; --": (),
    ";": ("semi;colon",),
    "/*b*/": ("a/*b*/c",),
    "--": ("' OR 1=1--",),
    "{{7*7}}": ("{{7*7}}",),
    "49": (),
    "<b>": ("<b>bold</b>",),
    "$where": ("$where",),
    "%00": ("%00",),
    "caf\u00e9": ("Cafe\u0301",),  # however the letter is composed,
    "cafe\u0301": ("Cafe\u0301",),
    "cafe": (),  # but it is another letter
    "stra\u00dfe": (),
    "\u0928\u094d\u0926": ("\u0939\u093f\u0928\u094d\u0926\u0940",),
    "\U0001f4b8": ("\U0001f4b8 money",),
    "undefined ": ("undefined behaviour",),
    "argon2": (),
    "x" * 100: (),
    "%" * 100: (),
    "(" * 100: (),
    "\\" * 100: (),
    "a?" * 50: (),
}
TOO_LONG = ("x" * 101, "x" * 10_000, "%" * 10_000, "(a+)+$" * 1_700, "\U0001f4b8" * 101)
REPEATED = "search=a&search=b"

Searches = dict[str, Callable[[str], Awaitable[httpx.Response]]]


async def shelf(cast: Cast) -> Searches:
    """Jobs and clients of these names; what each search is asked with. Nobody's address matters."""
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        await conn.execute("UPDATE party SET email = 'h'")
    for number, name in enumerate(NAMES):
        job = cast.job(title=name, description="-", location="-")
        accepted(await cast.alice.post("/api/client/job/create-job", json=job))
        await named(cast, number, name)
    return {
        "get-jobs": lambda query: cast.anybody.get(f"/api/client/job/get-jobs?limit=100&{query}"),
        "my-jobs": lambda query: cast.alice.get(
            f"/api/client/job/my-jobs/{cast.alice.id}?limit=100&{query}"
        ),
        "get-clients": lambda query: cast.olga.get(
            f"/api/admin/users/get-clients?limit=100&{query}"
        ),
    }


async def named(cast: Cast, number: int, name: str) -> None:
    somebody = await sign_up(cast.app, f"somebody{number}", Role.CLIENT)
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        await conn.execute(
            "UPDATE party SET name = $2, email = $3 WHERE id = $1",
            somebody.actor.key,
            unicodedata.normalize("NFC", name),
            "h",
        )
    await somebody.aclose()


def names_in(body: Any) -> set[str]:
    """Titles of jobs or names of people."""
    shown = body.get("jobs", body.get("data"))
    return {one.get("title", one.get("name")) for one in shown}


@pytest.mark.abuse(70)
async def test_it_finds_what_was_typed_and_nothing_else(cast: Cast, pool: Pool) -> None:
    searches = await shelf(cast)
    before = await digest(pool)
    for where, search in searches.items():
        for typed, names in FINDS.items():
            body = accepted(await search(f"search={quote(typed)}"))
            expected = {unicodedata.normalize("NFC", name) for name in names}
            assert names_in(body) == expected, f"{where}: {typed}"
            assert body["total"] == len(expected), f"{where}: {typed}"
    assert await digest(pool) == before


@pytest.mark.abuse(70)
async def test_it_is_asked_for_100_characters_at_most(cast: Cast, pool: Pool) -> None:
    world = await World.of(cast)
    before = await digest(pool)
    searched = 0
    for route in routes(world):
        if "search" not in route.queries:
            continue
        for typed in TOO_LONG:
            said = problem(await route.ask(f"?search={quote(typed)}"), 400)
            assert said["error"] == "search must be at most 100 characters long", route.name
        searched += 1
        both = await route.ask(f"?{REPEATED}")
        assert both.status_code in (200, 400), f"{route.name}: {both.text}"
    assert searched == 5
    assert await digest(pool) == before
