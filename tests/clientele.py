"""A **clientele**: people and a partner who do business with a server that may die at any moment.

Each write has an Idempotency-Key and is repeated with it until its outcome is known; what was
acknowledged becomes a **receipt** in the clientele's own **diary**, a file that no server ever
sees. A receipt says what was asked and answered, and what, by the published rules alone, is owed
from then on. `tests/reckoning.py` adds the receipts up.
"""

import asyncio
import random
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec

KNOWN_SECONDS_MAX = 90
PAUSE_SECONDS = 0.05
TWICE = 0.1
"""How often somebody clicks twice: the same request with the same key, at the same moment."""

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Over(Exception):
    """The doors are closing: nothing new is begun."""


class Astray(Exception):
    """An answer that no outage explains."""


class Receipt(msgspec.Struct, frozen=True):
    """One acknowledged write, as its sender knows it.

    `of` is the contract, job or payout that it was about. Amounts are minor units: `paid_in` came
    to be held for `of`, and `owed` says by how much whose wallet must have changed. Payments have
    no key: the provider's event is what makes them once. Of several hands that ask for the same
    thing one may get it: the others' receipts are `surplus`.
    """

    who: str
    verb: str
    of: str
    method: str
    path: str
    sent: Any
    key: str
    status: int
    answer: str
    paid_in: int = 0
    owed: dict[str, int] = {}
    surplus: bool = False


class Diary:
    """The receipts, one line each, and what it took to get them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = path.open("ab", buffering=0)
        self.acknowledged = 0
        self.unknown = 0
        self.retried = 0
        self.newest_begun = 0.0
        """When the newest of all acknowledged requests was begun (time.monotonic)."""

    def write(self, receipt: Receipt, begun: float) -> None:
        self._lines.write(msgspec.json.encode(receipt) + b"\n")
        self.acknowledged += 1
        self.newest_begun = max(self.newest_begun, begun)

    def receipts(self) -> list[Receipt]:
        lines = self._path.read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Receipt) for line in lines]

    def close(self) -> None:
        self._lines.close()


class Person(msgspec.Struct, frozen=True):
    """Somebody signed in. `id` is what the API calls them."""

    name: str
    id: str
    headers: dict[str, str]


class Request(msgspec.Struct, frozen=True):
    """What is asked, and what it means to those who ask."""

    who: Person
    verb: str
    method: str
    path: str
    sent: Any = None
    key: str = ""
    of: str = ""
    paid_in: int = 0
    owed: dict[str, int] = {}


class Answered(msgspec.Struct, frozen=True):
    """An outcome that is known. `begun` is when it was first asked for, `broke` whether an attempt
    ended in the dark."""

    status: int
    text: str
    begun: float
    broke: bool

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class Clientele:
    """Everybody's way to the server at `url`; `astray` collects what should not have been said."""

    def __init__(self, url: str, diary: Diary, dice: random.Random) -> None:
        self.http = httpx.AsyncClient(
            base_url=url,
            timeout=30,
            trust_env=False,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=32),
        )
        self.diary = diary
        self.dice = dice
        self.is_over = False
        self.astray: list[str] = []
        self._keys = 0

    def new_key(self) -> str:
        self._keys += 1
        return f"campaign-{self._keys}"

    async def ask(self, request: Request, of: tuple[str, ...] = ()) -> Any:
        """The body of a success. `of` is where in it the name of what was made stands.

        Raises Over before anything is sent, Astray for any other answer.
        """
        request = msgspec.structs.replace(request, key=request.key or self.new_key())
        hands = 2 if self.dice.random() < TWICE else 1
        answers = await asyncio.gather(*(self._until_known(request) for _ in range(hands)))
        first = answers[0]
        if not first.is_success:
            self._stray(request, first)
        if any((one.status, one.text) != (first.status, first.text) for one in answers):
            self.astray.append(f"{request.verb}: one key, two answers: {answers}")
        return self._keep(request, first, of)

    async def race(self, request: Request, hands: int = 3) -> None:
        """The same thing asked for by several hands, each under a key of its own: one gets it."""
        asked = [msgspec.structs.replace(request, key=self.new_key()) for _ in range(hands)]
        answers = await asyncio.gather(*map(self._until_known, asked))
        winners = 0
        for one, answer in zip(asked, answers, strict=True):
            if answer.is_success:
                self._keep(one, answer, (), surplus=winners > 0)
                winners += 1
            elif answer.status not in (400, 409):
                self._stray(one, answer)
        if not winners:
            self._stray(asked[0], answers[0])

    async def pay(self, request: Request) -> bool:
        """Be the payer of a checkout; whether the payment has come through already. It will: there
        is a receipt as soon as the provider says paid."""
        answer = await self._until_known(request)
        if not answer.is_success:
            self._stray(request, answer)
        return bool(self._keep(request, answer, ())["delivered"])

    async def has_come(self, request: Request) -> bool:
        """Whether it has by now; asking has the provider try again."""
        answer = await self._until_known(request)
        if not answer.is_success:
            self._stray(request, answer)
        return bool(msgspec.json.decode(answer.text)["delivered"])

    async def repeat(self, receipt: Receipt, who: Person) -> str:
        """What is wrong with the answer to what was acknowledged before; "" if it is the same."""
        request = Request(
            who, receipt.verb, receipt.method, receipt.path, receipt.sent, receipt.key
        )
        answer = await self._until_known(request, is_new=False)
        if (answer.status, answer.text) == (receipt.status, receipt.answer):
            return ""
        return (
            f"{receipt.verb} of {receipt.of}, acknowledged under {receipt.key}, is answered by"
            f" {answer.status} {answer.text[:200]}"
        )

    # -- until it is known ----------------------------------------------------------------------

    async def _until_known(self, request: Request, *, is_new: bool = True) -> Answered:
        """Ask, and ask again as long as nobody knows what became of it."""
        if is_new and self.is_over:
            raise Over
        begun = time.monotonic()
        broke = False
        while True:
            answer = await self._attempt(request)
            if answer is not None and answer.status_code != 503:
                return Answered(answer.status_code, answer.text, begun, broke)
            is_dark = answer is not None and "outcome_unknown" in answer.text
            if (answer is None or is_dark) and not broke:
                broke = True
                self.diary.unknown += is_new
            self.diary.retried += is_new
            if time.monotonic() - begun > KNOWN_SECONDS_MAX:
                raise Astray(f"{request.verb}: still unknown after {KNOWN_SECONDS_MAX} s")
            await asyncio.sleep(PAUSE_SECONDS)

    async def _attempt(self, request: Request) -> httpx.Response | None:
        """The answer to one attempt, or None: the connection broke, and who knows what happened."""
        headers = request.who.headers
        if request.key:
            headers = headers | {"Idempotency-Key": request.key}
        while True:
            try:
                return await self.http.request(
                    request.method, request.path, json=request.sent, headers=headers
                )
            except NEVER_SENT:
                await asyncio.sleep(PAUSE_SECONDS)
            except httpx.TransportError:
                return None

    def _keep(
        self, request: Request, answer: Answered, of: tuple[str, ...], *, surplus: bool = False
    ) -> Any:
        body = msgspec.json.decode(answer.text)
        found = body
        for name in of:
            found = found[name]
        receipt = Receipt(
            request.who.name,
            request.verb,
            str(found) if of else request.of,
            request.method,
            request.path,
            request.sent,
            request.key,
            answer.status,
            answer.text,
            request.paid_in,
            request.owed,
            surplus,
        )
        self.diary.write(receipt, answer.begun)
        return body

    def _stray(self, request: Request, answer: Answered) -> None:
        when = "after an unknown outcome" if answer.broke else "at once"
        raise Astray(f"{request.verb} of {request.of}, {when}: {answer.status} {answer.text[:200]}")
