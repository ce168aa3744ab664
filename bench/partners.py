"""Partners over HTTP: creating a contract with two milestones, and showing it, against what the
same costs on the marketplace. One server, in turns; every answer is 200 or 201.
"""

import random
from collections.abc import Callable
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import msgspec

from bench import books, load, seeding
from bench.neighbours import Clock, quiet
from bench.reads import CONNECTIONS, ready, serve, token_of
from bench.report import Figure
from earnest.domain.partner_settings import Wanted
from earnest.domain.party import Role
from earnest.ids import PublicId
from earnest.store import businesses
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.keys import Keys

SELLERS = 500
CREATE, VIEW = "POST create-contract, marketplace", "GET view-contract, marketplace"
CREATE_TWO, SHOW = "POST contracts, two milestones", "GET contracts, two milestones"

PARTIES = "SELECT public_id FROM party WHERE id = ANY($1::bigint[]) ORDER BY id"
NUMBERS = "SELECT number FROM contract WHERE business_id = $1"
OF_MARKETPLACE = "SELECT public_id FROM contract WHERE job_id = ANY($1::bigint[])"
JOBS = "SELECT id, public_id FROM job WHERE id = ANY($1::bigint[])"
APPLY = """
INSERT INTO application (id, public_id, job_id, freelancer_id)
SELECT a.id, a.public_id, a.job_id, $1
FROM unnest($2::bigint[], $3::text[], $4::bigint[]) AS a (id, public_id, job_id)
"""


class Partners:
    """One run on the database of `server`. `rates` and `others` tell of each round."""

    def __init__(self, pool: Pool, server: Embedded, *, rounds: int, count: int) -> None:
        self._pool = pool
        self._server = server
        self._rounds = rounds
        self._count = count
        self.rates: dict[str, list[float]] = {name: [] for name in (CREATE, VIEW, CREATE_TWO, SHOW)}
        self.others: list[float] = []

    async def run(self, say: Callable[[str], None]) -> list[Figure]:
        """Seed, serve, measure in turns."""
        creates = self._count // 4
        jobs, client, freelancer = await self._seed(creates * (self._rounds + 1))
        async with self._pool.connection() as conn, conn.transaction():
            broker = await businesses.create(conn, Wanted(name="Broker", currency="SAR"), "setup")
        with TemporaryDirectory(prefix="earnest-bench-") as directory:
            port, serving = serve(self._server, Path(directory))
            try:
                await ready(port)
                postmaster = self._server.pgdata / "postmaster.pid"
                await quiet(postmaster, serving.pid)
                token = await partner_token(port, broker.partner.client_id, broker.secret)
                posts = Requests(
                    port,
                    jobs,
                    freelancer,
                    broker.partner.business.key,
                    token_of(client, Role.CLIENT),
                    token,
                )
                say("serving; a marketplace and a partner")
                await self._round(port, posts, creates, measured=False)
                await books.vacuum(self._server.owner_dsn)
                for number in range(self._rounds):
                    begun = Clock.read(postmaster, serving.pid)
                    await self._round(port, posts, creates, swapped=number % 2 == 1)
                    share = Clock.read(postmaster, serving.pid).share_of_others(begun)
                    self.others.append(share)
            finally:
                serving.terminate()
                serving.wait()
        return [
            self._cost("partner_create_to_marketplace", CREATE, CREATE_TWO, 1.6, 1.2),
            self._cost("partner_show_to_marketplace", VIEW, SHOW, 1.3, 1.0),
        ]

    def _cost(self, name: str, of: str, partner: str, must: float, goal: float) -> Figure:
        """How many times as much the partner's costs: rates the other way round."""
        pairs = zip(self.rates[of], self.rates[partner], strict=True)
        return Figure(name, [one / other for one, other in pairs], must, goal, is_cost=True)

    async def _round(
        self,
        port: int,
        posts: "Requests",
        creates: int,
        *,
        swapped: bool = False,
        measured: bool = True,
    ) -> None:
        async def create() -> None:
            requests = [posts.create() for _ in range(creates)]
            await self._send(CREATE, port, requests, measured=measured)

        async def create_two() -> None:
            requests = [posts.create_two() for _ in range(creates)]
            await self._send(CREATE_TWO, port, requests, measured=measured)

        for one in (create_two, create) if swapped else (create, create_two):
            await one()
        async with self._pool.connection() as conn:
            ids = [row[0] for row in await conn.fetch(OF_MARKETPLACE, posts.taken)]
            numbers = [row[0] for row in await conn.fetch(NUMBERS, posts.business)]
        views = [posts.view(one) for one in random.choices(ids, k=self._count)]
        shows = [posts.show(one) for one in random.choices(numbers, k=self._count)]
        pairs = ((VIEW, views), (SHOW, shows))
        for name, requests in reversed(pairs) if swapped else pairs:
            await self._send(name, port, requests, measured=measured)

    async def _send(self, name: str, port: int, requests: list[bytes], *, measured: bool) -> None:
        answered = await load.send(port, requests, connections=CONNECTIONS)
        if measured:
            self.rates[name].append(answered.per_second)

    async def _seed(self, count: int) -> tuple[list[tuple[int, str]], PublicId, PublicId]:
        """Jobs that one freelancer has applied for; the ids of their client and of the other."""
        keys = Keys(self._pool)
        client, freelancer = await seeding.add_parties(self._pool, keys, 2)
        await seeding.add_logins(self._pool, client, [freelancer])
        keyed = await seeding.add_jobs(self._pool, keys, count, client=client)
        async with self._pool.connection() as conn:
            now = await conn.fetchval("SELECT business_now()")
            fresh = [(await keys.ids()).new_object(now) for _ in keyed]
            await conn.execute(
                APPLY, freelancer, [one for one, _ in fresh], [one for _, one in fresh], keyed
            )
            jobs = [(row[0], row[1]) for row in await conn.fetch(JOBS, keyed)]
            people = await conn.fetch(PARTIES, [client, freelancer])
        return jobs, PublicId(people[0][0]), PublicId(people[1][0])


class Requests:
    """The bytes of each request; every job is used once, and goes to `taken`."""

    def __init__(
        self,
        port: int,
        jobs: list[tuple[int, str]],
        freelancer: PublicId,
        business: int,
        client_token: str,
        partner_token: str,
    ) -> None:
        self._port = port
        self._jobs = jobs
        self._freelancer = freelancer
        self._client_token = client_token
        self.partner_token = partner_token
        self._numbers = count(1)
        self.business = business
        self.taken: list[int] = []

    def create(self) -> bytes:
        """The client hires the freelancer for the next job."""
        key, job = self._jobs.pop()
        self.taken.append(key)
        body = {"freelancerId": self._freelancer, "amount": seeding.AMOUNT_MINOR / 100}
        path = f"/api/client/create-contract/{job}"
        return self._post(path, body, self._client_token)

    def create_two(self) -> bytes:
        """A partner's contract between one of SELLERS and a buyer."""
        number = next(self._numbers)
        body = {
            "title": "Logo for a bakery",
            "contractServiceType": "Service",
            "BuyerParty": _person(966_500_000_000 + number % SELLERS, "Huda"),
            "SellerParty": _person(966_600_000_000 + number % SELLERS, "Omar"),
            "reference": f"order-{number}",
            "metaData": {"metadata1": "1"},
            "amount": 1000,
            "Milestones": [_milestone("Draft", 600), _milestone("Final", 400)],
        }
        return self._post("/apps/api/contracts", body, self.partner_token)

    def view(self, contract: str) -> bytes:
        """The client looks at a contract."""
        path = f"/api/freelancer/contract/view-contract/{contract}"
        return self._get(path, self._client_token)

    def show(self, contract: str) -> bytes:
        """The partner looks at a contract."""
        return self._get(f"/apps/api/contracts/{contract}", self.partner_token)

    def _get(self, path: str, token: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\n{self._head(token)}\r\n".encode()

    def _post(self, path: str, body: object, token: str) -> bytes:
        text = msgspec.json.encode(body)
        head = f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        return f"POST {path} HTTP/1.1\r\n{self._head(token)}{head}\r\n".encode() + text

    def _head(self, token: str) -> str:
        return f"Host: 127.0.0.1:{self._port}\r\nAuthorization: Bearer {token}\r\n"


def _person(phone: int, name: str) -> dict[str, str]:
    return {"phoneNumber": str(phone), "firstName": name, "lastName": "Salem"}


def _milestone(name: str, amount: int) -> dict[str, object]:
    return {"Name": name, "Amount": amount, "DueDate": "2030-06-01T00:00:00.000Z"}


async def partner_token(port: int, client_id: str, secret: str) -> str:
    """An access token, asked for as partners do."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    async with httpx.AsyncClient() as http:
        answer = await http.post(f"http://127.0.0.1:{port}/connect/token", data=form)
    return str(answer.raise_for_status().json()["access_token"])
