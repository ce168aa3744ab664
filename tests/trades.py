"""The **trades** of a clientele: whole lives of contracts, of the marketplace and of a partner.

What is owed is worked out here, from the published rules and in integers: the marketplace keeps
a tenth; who cancels leaves the seller nothing, or 15 % of the rest once work has begun; a
partner's fees come on top.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import httpx
import msgspec

from bargain import fees_of, half_up
from clientele import Astray, Clientele, Over, Person, Request
from test_serve import earnest
from web import PASSWORD

STARTED = Fraction(15, 100)
NOBODY = Person("anybody", "", {})
LOOK_AGAIN_SECONDS = 0.5
WITHDRAWN_MIN = 100
"""One rupee, in paise: the least that is paid out, where nobody has set another minimum."""


class Cast(msgspec.Struct, frozen=True):
    """Who trades, and the labels that a job needs. `omar` is the phone of the partner's seller."""

    alices: list[Person]
    bobs: list[Person]
    olga: Person
    broker: Person
    category: str
    skill: str
    omar: str = "966583944461"
    huda: str = "966583944460"

    @property
    def people(self) -> dict[str, Person]:
        everybody = (*self.alices, *self.bobs, self.olga, self.broker, NOBODY)
        return {one.name: one for one in everybody}


class Trader:
    """One pair of hands that lives one contract after the other, until it is over."""

    def __init__(self, clientele: Clientele, cast: Cast, number: int) -> None:
        self._clientele, self._cast = clientele, cast
        self._dice = clientele.dice
        self._alice = cast.alices[number % len(cast.alices)]
        self._bob = cast.bobs[number % len(cast.bobs)]

    async def trade(self) -> None:
        """Until it is over; what went astray is told, and the next life begun."""
        lives: list[Callable[[], Awaitable[None]]] = [
            self._released, self._released, self._cancelled, self._cancelled_at_work,
            self._turned_down, self._sold, self._sold, self._given_back, self._called_off,
            self._rejected,
        ]  # fmt: skip
        with contextlib.suppress(Over):
            while True:
                try:
                    await self._dice.choice(lives)()
                except Astray as stray:
                    self._clientele.astray.append(str(stray))
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _ask(
        self,
        who: Person,
        verb: str,
        line: str,
        sent: Any = None,
        *made: str,
        of: str = "",
        **means: Any,
    ) -> Any:
        method, path = line.split()
        return await self._clientele.ask(
            Request(who, verb, method, path, sent, of=of, **means), made
        )

    # -- the marketplace ------------------------------------------------------------------------

    async def _hired(self) -> tuple[str, str, int]:
        """A new job, its contract, and the amount."""
        minor = self._dice.randint(10_000, 2_000_000)
        alice, bob = self._alice, self._bob
        wanted = {
            "title": "Logo for a bakery",
            "description": "A logo, three drafts.",
            "rate": minor / 100,
            "experienceLevel": "Beginner",
            "location": "Pune",
            "category": self._cast.category,
            "skills": [self._cast.skill],
        }
        made = await self._ask(
            alice, "post a job", "POST /api/client/job/create-job", wanted, "job", "_id"
        )
        job = made["job"]["_id"]
        await self._ask(bob, "apply", f"POST /api/freelancer/jobs/apply-job/{job}", of=job)
        hiring = {"freelancerId": bob.id, "amount": minor / 100}
        line = f"POST /api/client/create-contract/{job}"
        made = await self._ask(alice, "hire", line, hiring, "contract", "_id")
        return job, made["contract"]["_id"], minor

    async def _paid(self) -> tuple[str, int]:
        job, contract, minor = await self._hired()
        line = f"POST /api/client/job/payment/{job}"
        opened = await self._ask(
            self._alice, "open a checkout", line, {"freelancerId": self._bob.id}, of=contract
        )
        await self._pay(opened["id"], contract, minor)
        return contract, minor

    async def _pay(self, session: str, contract: str, minor: int) -> None:
        """Pay, and wait until the provider has been heard."""
        path = f"/sandbox/checkout/{session}/complete"
        outcome = {"outcome": "paid"}
        request = Request(NOBODY, "pay", "POST", path, outcome, of=contract, paid_in=minor)
        has_come = await self._clientele.pay(request)
        while not has_come:
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            has_come = await self._clientele.has_come(request)

    async def _approve(self, contract: str) -> None:
        line = f"POST /api/freelancer/contract/approve-contract/{contract}/{self._bob.id}"
        await self._ask(self._bob, "approve", line, of=contract)

    async def _work(self, contract: str, *statuses: str) -> None:
        for status in statuses:
            line = f"PUT /api/freelancer/contract/update-status/{contract}"
            await self._ask(self._bob, "work", line, {"status": status}, of=contract)

    async def _released(self) -> None:
        """All goes well: three admins release at once, and Bob takes some of it to his bank."""
        contract, minor = await self._paid()
        await self._approve(contract)
        await self._work(contract, "Ongoing", "Completed")
        line = f"PATCH /api/client/release-fund/{contract}"
        await self._ask(self._alice, "ask for the release", line, of=contract)
        earned = minor - half_up(Fraction(minor, 10))
        path = f"/api/admin/escrow/release-fund/{contract}"
        owed = {self._bob.id: earned}
        release = Request(self._cast.olga, "release", "PUT", path, of=contract, owed=owed)
        await self._clientele.race(release)
        taken = self._dice.randint(WITHDRAWN_MIN, earned)
        await self._ask(
            self._bob,
            "withdraw",
            "POST /api/freelancer/wallet/withdraw",
            {"amount": taken / 100},
            "data",
            "_id",
            owed={self._bob.id: -taken},
        )

    async def _cancelled(self) -> None:
        """Alice changes her mind before anything was done."""
        contract, minor = await self._paid()
        await self._cancel_and_refund(contract, minor, Fraction(0))

    async def _cancelled_at_work(self) -> None:
        contract, minor = await self._paid()
        await self._approve(contract)
        await self._cancel_and_refund(contract, minor, STARTED)

    async def _cancel_and_refund(self, contract: str, minor: int, kept: Fraction) -> None:
        line = f"DELETE /api/client/cancel-contract/{contract}"
        await self._ask(self._alice, "cancel", line, of=contract)
        rest = minor - half_up(Fraction(minor, 10))
        sellers = half_up(rest * kept)
        owed = {self._alice.id: rest - sellers, self._bob.id: sellers}
        line = f"PUT /api/admin/escrow/refund-client/{contract}/{self._alice.id}"
        await self._ask(self._cast.olga, "refund", line, None, of=contract, owed=owed)

    async def _turned_down(self) -> None:
        """Bob does not want it after all."""
        _, contract, _ = await self._hired()
        line = f"DELETE /api/client/cancel-contract/{contract}"
        await self._ask(self._bob, "cancel", line, of=contract)

    # -- the partner ----------------------------------------------------------------------------

    async def _offered(self) -> tuple[str, str, list[Any], list[int]]:
        """A new contract, its checkout, its milestones and what they cost before fees."""
        parts = [self._dice.randint(100, 5_000) * 100 for _ in range(2)]
        due = "2036-06-01T00:00:00.000Z"
        milestones = [
            {"Name": name, "Amount": part // 100, "DueDate": due}
            for name, part in zip(("Draft", "Final"), parts, strict=True)
        ]
        wanted = {
            "title": "A kitchen",
            "contractServiceType": "Service",
            "BuyerParty": {"phoneNumber": self._cast.huda, "firstName": "Huda", "lastName": "S"},
            "SellerParty": {"phoneNumber": self._cast.omar, "firstName": "Omar", "lastName": ""},
            "amount": sum(parts) // 100,
            "Milestones": milestones,
        }
        made = await self._partner("offer", "", wanted, "data", "contractId")
        data = made["data"]
        return data["contractId"], data["checkout"]["token"], data["milestones"], parts

    async def _partner(
        self, verb: str, action: str, sent: Any = None, *made: str, of: str = "", **means: Any
    ) -> Any:
        path = "/".join(part for part in ("/apps/api/contracts", of, action) if part)
        return await self._ask(self._cast.broker, verb, f"POST {path}", sent, *made, of=of, **means)

    async def _deal(self) -> tuple[str, list[Any], list[int]]:
        contract, token, milestones, parts = await self._offered()
        total = sum(parts)
        await self._pay(token, contract, total + sum(fees_of(total)))
        return contract, milestones, parts

    async def _sold(self) -> None:
        """Delivered; the first half is released, then whatever is left."""
        contract, milestones, (first, second) = await self._deal()
        await self._partner("accept", "approve", of=contract)
        await self._partner("deliver", "deliver", of=contract)
        for sent, part in (
            ({"contractId": contract, "milestoneId": milestones[0]["Id"]}, first),
            ({"contractId": contract}, second),
        ):
            path = "/apps/api/contracts/release"
            owed = {self._cast.omar: part}
            release = Request(
                self._cast.broker, "release a part", "POST", path, sent, of=contract, owed=owed
            )
            await self._clientele.race(release, hands=2)
        await self._ask(
            self._cast.broker, "pay out", "POST /apps/api/payouts", {"amount": 1},
            "data", "payoutId",
        )  # fmt: skip

    async def _given_back(self) -> None:
        contract, _, _ = await self._deal()
        wanted = {"type": "FULL", "reason": "The buyer changed her mind"}
        await self._partner("give back", "refund", wanted, of=contract)

    async def _called_off(self) -> None:
        contract, _, _ = await self._deal()
        by = {"by": "buyer", "reason": "The kitchen is not green"}
        await self._partner("call off", "cancel", by, of=contract)

    async def _rejected(self) -> None:
        contract, _, _, _ = await self._offered()
        await self._partner("reject", "reject", {"reason": "No time"}, of=contract)


# -- the cast --------------------------------------------------------------------------------------


async def gather(http: httpx.AsyncClient, data_dir: Path) -> Cast:
    """Everybody signs up over HTTP; Olga and the partner come from the operator of `data_dir`."""
    data = ("--data", str(data_dir))
    olga = ("--email", "olga@example.com", "--password", PASSWORD)
    await asyncio.to_thread(earnest, "admin", "create", *olga, *data)
    # By hand: payouts that nobody asked for stand in no diary.
    named = ("--name", "Demo Broker", "--payout-schedule", "manual", "--json")
    made = await asyncio.to_thread(earnest, "business", "create", *named, *data)
    assert made.returncode == 0, made.stderr
    admin = await _sign_in(http, "olga")
    return Cast(
        [await _sign_up(http, f"alice{n}", "client") for n in range(3)],
        [await _sign_up(http, f"bob{n}", "freelancer") for n in range(3)],
        admin,
        await _broker(http, json.loads(made.stdout)),
        await _label(http, admin, "categories/add-category", "Design"),
        await _label(http, admin, "skills/add-skills", "Drawing"),
    )


async def _post(http: httpx.AsyncClient, path: str, **sent: Any) -> Any:
    answer = await http.post(path, **sent)
    assert answer.is_success, answer.text
    return answer.json()


async def _sign_up(http: httpx.AsyncClient, name: str, role: str) -> Person:
    email = f"{name}@example.com"
    wanted = {"name": name, "email": email, "password": PASSWORD, "role": role}
    await _post(http, "/api/auth/register", json=wanted)
    mailbox = await http.get("/sandbox/mailbox", params={"to": email})
    code = {"email": email, "otp": mailbox.json()[0]["code"], "userData": wanted}
    await _post(http, "/api/auth/verify-otp", json=code)
    return await _sign_in(http, name)


async def _sign_in(http: httpx.AsyncClient, name: str) -> Person:
    sent = {"email": f"{name}@example.com", "password": PASSWORD}
    answer = await _post(http, "/api/auth/login", json=sent)
    bearer = {"Authorization": f"Bearer {answer['accessToken']}"}
    return Person(name, answer["user"]["id"], bearer)


async def _broker(http: httpx.AsyncClient, made: Any) -> Person:
    form = {
        "grant_type": "client_credentials",
        "client_id": made["client_id"],
        "client_secret": made["client_secret"],
    }
    token = (await _post(http, "/connect/token", data=form))["access_token"]
    return Person("broker", made["business_id"], {"Authorization": f"Bearer {token}"})


async def _label(http: httpx.AsyncClient, olga: Person, path: str, name: str) -> str:
    made = await _post(http, f"/api/admin/{path}", json={"name": name}, headers=olga.headers)
    label: str = made["data"]["_id"]
    return label
