"""The **stage** of a play: its people and jobs, how they ask, and what must then be true.

Plays share one **house** (tests/house.py); people, jobs and all that comes of them are a play's
own. Everything that is asked is a real request, and the model says what comes of it.
"""

from typing import Any

import httpx
import msgspec

from earnest.domain.party import Role
from earnest.ids import PublicId, key_of
from earnest.ledger.accounts import held, wallet
from house import House
from model import Model
from model_values import Contract, Event, Job
from refusals import SET_STATUS
from switches import switch
from web import Caller, problem, sign_up

CLIENTS, FREELANCERS = ("Alice", "Mallory"), ("Bob", "Mallet")
RATES = (5_000_000, 9_999, 1)  # paise: of the first two Alice's, of the third Mallory's job
WRONG_ROLE = "Unauthorized Access"  # a wrong role may be told first
BALANCES = "SELECT account, amount_minor FROM balance WHERE account = ANY($1)"

# All that a request of somebody in this play could change, and the ends of the books of all.
EVERYTHING = """
SELECT
    ARRAY(SELECT j::text FROM job AS j WHERE j.id = ANY($1) ORDER BY j.id) AS jobs,
    ARRAY(SELECT a::text FROM application AS a WHERE a.job_id = ANY($1) ORDER BY a.id)
        AS applications,
    ARRAY(SELECT c::text FROM contract AS c WHERE c.job_id = ANY($1) ORDER BY c.id) AS contracts,
    ARRAY(SELECT p::text FROM payment AS p WHERE p.job_id = ANY($1) ORDER BY p.id) AS payments,
    (SELECT max(e.id) FROM event AS e) AS event,
    (SELECT max(t.id) FROM transfer AS t) AS transfer,
    (SELECT count(*) FROM sandbox.session) AS sessions,
    (SELECT count(*) FROM idempotency_key) AS keys
"""


class Sent(msgspec.Struct, frozen=True):
    """A request that was carried out, with its key and its answer."""

    who: str
    method: str
    path: str
    body: Any
    key: str
    answer: httpx.Response


class Stage:
    """Two clients, two freelancers, three jobs; `begin`, then any steps and looks, then `end`.
    `leave` whatever happened."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.model = Model(house.seen)
        self.people: dict[str, Caller] = {"Olga": self.house.olga}
        self.jobs: list[str] = []
        self.applications: list[str] = []
        self.contracts: list[str] = []
        self.sessions: list[str] = []
        self.events: list[tuple[Event, bytes]] = []
        self.heard: set[str] = set()
        self.sent: list[Sent] = []

    def begin(self) -> None:
        """Everybody signs up and every job is posted."""
        number = next(self.house.number)
        for name in CLIENTS + FREELANCERS:
            role = Role.CLIENT if name in CLIENTS else Role.FREELANCER
            self.people[name] = self.house.run(sign_up(self.house.app, f"{name}{number}", role))
        for name, rate in zip(("Alice", "Alice", "Mallory"), RATES, strict=True):
            body = {
                "title": "Logo",
                "description": "A logo.",
                "rate": rate / 100,
                "experienceLevel": "Beginner",
                "location": "Pune",
                "category": self.house.category,
                "skills": [self.house.skill],
            }
            answer = self.request(name, "POST", "/api/client/job/create-job", body)
            self.jobs.append(answer.json()["job"]["_id"])
            self.model.jobs.append(Job(name, rate))

    def end(self) -> None:
        """Everybody looks at the jobs and into their wallet, and every contract's proof holds."""
        self.unblock()
        self.look_at_jobs()
        self.look_into_wallets()
        for contract in self.contracts:
            proof = self.get("Olga", f"/api/admin/escrow/proof/{contract}")
            assert proof["holds"] is True

    def leave(self) -> None:
        """The house is as the next play wants to find it."""
        self.unblock()
        self.set_refunds("admin")
        for name, person in self.people.items():
            if name != "Olga":
                self.house.run(person.aclose())

    # -- the operator -------------------------------------------------------------------------

    def block(self, who: str) -> None:
        """An operator shuts somebody out."""
        self._set_status(who, "Blocked")
        self.model.blocked.add(who)

    def unblock(self) -> None:
        """... and lets everybody in again."""
        for who in sorted(self.model.blocked):
            self._set_status(who, "Active")
        self.model.blocked.clear()

    def _set_status(self, who: str, status: str) -> None:
        self.house.fetch(SET_STATUS, key_of(PublicId(self.people[who].id)), status)

    def set_refunds(self, approval: str) -> None:
        """Who approves refunds from now on: "admin", or nobody: "automatic" (D6)."""
        if approval != self.model.refunds:
            self.house.run(switch(self.house, refund_approval=approval))
            self.model.refunds = approval

    # -- requests -----------------------------------------------------------------------------

    def request(self, name: str, method: str, path: str, body: Any = None) -> httpx.Response:
        key = f"key {next(self.house.number)}"
        answer = self.send(name, method, path, body, key)
        if answer.is_success:
            self.sent.append(Sent(name, method, path, body, key, answer))
        return answer

    def send(self, name: str, method: str, path: str, body: Any, key: str) -> httpx.Response:
        """Whoever is blocked must be told so, and nothing must come of it."""
        headers = {"Idempotency-Key": key}
        asked = self.people[name].request(method, path, json=body, headers=headers)
        if name not in self.model.blocked:
            return self.house.run(asked)
        before = self.everything()
        answer = self.house.run(asked)
        text = problem(answer, 403)["error"]
        assert "blocked" in text or text == WRONG_ROLE
        assert self.everything() == before
        return answer

    def do(
        self, wanted: int, name: str, method: str, path: str, body: Any = None
    ) -> httpx.Response:
        """Send it; the answer must have the status that the model wants."""
        answer = self.request(name, method, path, body)
        assert answer.status_code == wanted, f"{wanted} wanted: {answer.text}"
        return answer

    def get(self, name: str, path: str) -> Any:
        """What somebody reads; where they are blocked, what anybody reads."""
        reader = self.people[name]
        if name in self.model.blocked:
            problem(self.house.run(reader.get(path)), 403)
            reader = self.house.anybody
        answer = self.house.run(reader.get(path))
        assert answer.status_code == 200, answer.text
        return answer.json()

    # -- looking ------------------------------------------------------------------------------

    def everything(self) -> list[tuple[Any, ...]]:
        keys = [key_of(PublicId(job)) for job in self.jobs]
        return [tuple(row) for row in self.house.fetch(EVERYTHING, keys)]

    def look(self) -> None:
        """Every contract, and every account of the people, is what the model says."""
        assert len(self.contracts) == len(self.model.contracts)
        for name in CLIENTS:
            path = f"/api/client/get-contracts/{self.people[name].id}"
            shown = {one["_id"]: one for one in self.get(name, path)["data"]}
            mine = [i for i, of in enumerate(self.model.contracts) if of.client == name]
            assert set(shown) == {self.contracts[i] for i in mine}
            for i in mine:
                _alike(shown[self.contracts[i]], self.model.contracts[i])
                self.house.seen[self.model.contracts[i].money] += 1
        keys = [key_of(PublicId(one)) for one in self.contracts]
        expected = {
            held("INR", key, 0): of.held for key, of in zip(keys, self.model.contracts, strict=True)
        }
        for name in CLIENTS + FREELANCERS:
            account = wallet("INR", key_of(PublicId(self.people[name].id)))
            expected[account] = self.model.wallets[name]
        rows = self.house.fetch(BALANCES, list(expected))
        assert {**dict.fromkeys(expected, 0), **dict(map(tuple, rows))} == expected

    def look_at_jobs(self) -> None:
        """Every job's rate, applicants and hired freelancer."""
        shown: dict[str, Any] = {}
        for name in CLIENTS:
            path = f"/api/client/job/my-jobs/{self.people[name].id}"
            answer = self.house.run(self.house.anybody.get(path))
            shown |= {one["_id"]: one for one in answer.json()["jobs"]}
        assert set(shown) == set(self.jobs)
        for number, job in enumerate(self.jobs):
            of, live = self.model.jobs[number], self.model.live(number)
            hired = None if live is None else self.model.contracts[live].freelancer
            assert (
                round(shown[job]["rate"] * 100),
                shown[job]["applicants"],
                shown[job]["status"],
                shown[job]["hiredFreelancer"],
            ) == (
                of.rate,
                len(self.model.applied(number)),
                "Open" if hired is None else "Closed",
                None if hired is None else self.people[hired].id,
            )

    def look_into_wallets(self) -> None:
        for name in CLIENTS + FREELANCERS:
            path = f"/api/freelancer/wallet/earnings/{self.people[name].id}"
            data = self.get(name, path)["data"]
            balance = 0 if data is None else data["balance"]
            assert round(balance * 100) == self.model.wallets[name]


def _alike(shown: dict[str, Any], of: Contract) -> None:
    assert (
        shown["status"],
        shown["escrowPaid"],
        shown["releaseFundStatus"],
        shown["canceledBy"],
        round(shown["amount"] * 100),
    ) == (of.status, of.paid, of.release_status, of.canceled_by, of.amount)
