"""Who sees what (D8): for every route that reads, what of people each reader gets to see.

What is looked for are the e-mail addresses of Alice, Bob, Mallory, Mallet and Olga (their letters)
and the reasons (r) that Alice gave for her refund. A row says who may look ("AB": as Alice and as
Bob) and what the answer then holds; whoever is not named finds none of it. No answer ever holds a
password, a hash, a code or a token.
"""

import re
from typing import Any

import pytest
from litestar import Litestar

from earnest.store.db import Pool
from test_authorisation import BY_ROUTE, routes
from test_authorisation import asked as request_of
from web import Cast
from world import DESCRIPTION, LETTERS, REASON, World

NOTHING: dict[str, str] = {}
PARTIES = {"ABO": "ABr"}
ADMINS = {"O": "ABr"}
OWN_CONTRACTS = {"ABO": "ABr"}

# Readers -> what they find. Alice, Bob and Olga are who the world's contracts are about.
SHOWN: dict[str, dict[str, str]] = {
    "GET /api/admin/categories/get-categories": NOTHING,
    "GET /api/admin/skills/get-skills": NOTHING,
    "GET /api/admin/users/get-clients": {"O": "Am"},
    "GET /api/admin/users/get-freelancers": {"O": "Bt"},
    "GET /api/admin/users/get-admins": {"O": "O"},
    "GET /api/admin/businesses": NOTHING,
    "GET /api/admin/businesses/{business_id:str}": NOTHING,
    "GET /api/admin/refunds": NOTHING,
    "GET /api/admin/alerts": NOTHING,
    "GET /api/admin/chargebacks": NOTHING,
    "GET /api/admin/dead-letters": NOTHING,
    "GET /api/admin/holds": NOTHING,
    "GET /api/admin/payouts": NOTHING,
    "GET /api/admin/reconciliations": NOTHING,
    "GET /api/admin/reconciliations/{date:str}": NOTHING,
    "GET /api/admin/escrow/balance": NOTHING,
    "GET /api/admin/escrow/total-revenue": NOTHING,
    "GET /api/admin/escrow/transactions": {"O": "Ar"},
    "GET /api/admin/escrow/sales-report": {"O": "Ar"},
    "GET /api/admin/escrow/parked-payments": NOTHING,
    "GET /api/admin/escrow/proof/{contract_id:str}": NOTHING,
    "GET /api/client/all-contracts": OWN_CONTRACTS,
    "GET /api/client/contract/all-contracts": OWN_CONTRACTS,
    "GET /api/client/get-contracts/{client_id:str}": OWN_CONTRACTS,
    "GET /api/client/contract/get-contracts/{client_id:str}": OWN_CONTRACTS,
    "GET /api/client/is-created/{job_id:str}/{client_id:str}": NOTHING,
    "GET /api/client/contract/is-created/{job_id:str}/{client_id:str}": NOTHING,
    "GET /api/client/contract/proof/{contract_id:str}": NOTHING,
    "GET /api/client/wallet/withdraw": NOTHING,
    "GET /api/client/wallet/withdraw/{payout_id:str}": NOTHING,
    "GET /api/client/job/get-jobs": {"AO": "A"},
    "GET /api/client/job/my-jobs/{client_id:str}": {"AO": "A"},
    "GET /api/client/job/job-details/{job_id:str}": {"AO": "A"},
    "GET /api/client/job/applicants/{job_id:str}/{client_id:str}": NOTHING,
    "GET /api/client/profile/get-profile/{user_id:str}": {"ABO": "A"},
    "GET /api/client/review/show-reviews/{freelancer_id:str}": {"ABO": "A"},
    "GET /api/freelancer/contract/view-contract/{contract_id:str}": PARTIES,
    "GET /api/freelancer/contract/get-contracts/{freelancer_id:str}": OWN_CONTRACTS,
    "GET /api/freelancer/contract/completed-works/{freelancer_id:str}": {"ABO": "AB"},
    "GET /api/freelancer/contract/proof/{contract_id:str}": NOTHING,
    "GET /api/freelancer/jobs/applied-jobs": NOTHING,
    "GET /api/freelancer/jobs/applied-status/{job_id:str}/{freelancer_id:str}": NOTHING,
    "GET /api/freelancer/profile/get-profile/{user_id:str}": {"ABO": "B"},
    "GET /api/freelancer/wallet/earnings/{user_id:str}": NOTHING,
    "GET /api/freelancer/wallet/transactions/{id:str}": NOTHING,
    "GET /api/freelancer/wallet/user-sales-report/{user_id:str}": NOTHING,
    "GET /api/freelancer/wallet/withdraw": NOTHING,
    "GET /api/freelancer/wallet/withdraw/{payout_id:str}": NOTHING,
}

SECRETS = re.compile(
    r"argon2|password|hash|eyJ[\w-]{10}|refreshToken|token_generation|\botp\b", re.IGNORECASE
)


@pytest.fixture
async def world(cast: Cast) -> World:
    return await World.make(cast)


async def test_every_route_that_reads_has_its_row(app: Litestar) -> None:
    reads = [route for route, _ in routes(app) if route.startswith("GET ")]
    assert sorted(SHOWN) == sorted(reads)


def asked(world: World, route: str) -> dict[str, Any]:
    """Where a contract is asked for by its id, it is the one with the reasons."""
    world.ids["contract_id"] = world.canceled
    return request_of(world, BY_ROUTE[route])


def found(world: World, text: str) -> str:
    """What an answer holds, in the letters of the table."""
    letters = [letter for letter in LETTERS[1:] if world.who(letter).email in text]
    if REASON in text or DESCRIPTION in text:
        assert REASON in text
        letters.append("r")
    return "".join(letters)


def ordered(letters: str) -> str:
    return "".join(sorted(letters, key=f"{LETTERS}r".index))


async def test_readers_see_of_people_what_they_may_and_no_more(world: World) -> None:
    for route, rows in SHOWN.items():
        told = dict.fromkeys(LETTERS, "")
        for letters, shown in rows.items():
            told |= dict.fromkeys(letters, shown)
        for letter, shown in told.items():
            answer = await world.who(letter).get(asked(world, route)["url"])
            assert found(world, answer.text) == ordered(shown), f"{letter}: {route}"
            assert "phone" not in answer.text.lower(), route


@pytest.mark.abuse(67)
async def test_no_reader_ever_sees_a_secret(world: World) -> None:
    async def secrets() -> list[str]:
        pool: Pool = world.cast.app.state.pool
        async with pool.connection() as conn:
            hashes = await conn.fetch("SELECT password_hash AS secret FROM login")
            tokens = await conn.fetch("SELECT id::text AS secret FROM refresh_token")
        return [row["secret"] for row in [*hashes, *tokens]]

    hidden = await secrets()
    assert len(hidden) >= 5
    for route in SHOWN:
        for letter in LETTERS:
            text = (await world.who(letter).get(asked(world, route)["url"])).text
            assert not SECRETS.search(text.replace("No token provided", "")), f"{letter}: {route}"
            assert not [secret for secret in hidden if secret in text], f"{letter}: {route}"


async def test_a_stranger_sees_of_a_contract_what_nobody_sees(world: World) -> None:
    """The same bytes: not even the shape tells Mallory and Mallet that they are known."""
    for route in SHOWN:
        if BY_ROUTE[route].who == LETTERS and "contract" in route:
            url = asked(world, route)["url"]
            nobody = (await world.who("-").get(url)).content
            for letter in "mt":
                assert (await world.who(letter).get(url)).content == nobody, f"{letter}: {route}"
