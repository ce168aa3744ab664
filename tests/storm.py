"""A **storm**: thousands of checkout sessions in every situation, and what their provider tells of
each. A **story** is a situation and how it ends.

    sessions = await seed(app, broker)          into an empty database, which is then copied
    told = [telling for session in sessions for telling in session.told]    in order, each once
    await what_is_left(app)                     what must not depend on how they came

Seeded through the product's own functions and its own door; partners' contracts over HTTP.
"""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from bench import seeding
from litestar import Litestar

from deal import Deal
from earnest.actions.core import Core
from earnest.domain.business import MARKETPLACE
from earnest.domain.change import Change, of_contract
from earnest.domain.contract import Contract, record
from earnest.domain.hiring import payment_change
from earnest.domain.party import SYSTEM, Actor, Role
from earnest.domain.payment import Payment, PaymentState, checkout_metadata
from earnest.domain.verbs import cancel, created_body, new_contract
from earnest.ids import PublicId
from earnest.store.commit import Commit
from partners import Broker
from web import caller

COMPLETED = "checkout.session.completed"
SUCCEEDED = "checkout.session.async_payment_succeeded"
FAILED = "checkout.session.async_payment_failed"
EXPIRED = "checkout.session.expired"
DAYS_LATE_MAX = 6
SEEDED_AT_ONCE = 64
BEGAN_SECONDS = int(time.time())

ENDINGS: dict[str, list[dict[str, Any]]] = {
    "paid": [{"type": COMPLETED}],
    "said twice": [{"type": COMPLETED}, {"type": SUCCEEDED}],
    "slow": [{"type": COMPLETED, "payment_status": "unpaid"}, {"type": SUCCEEDED}],
    "waiting": [{"type": COMPLETED, "payment_status": "unpaid"}],
    "bounced": [
        {"type": COMPLETED, "payment_status": "unpaid"},
        {"type": FAILED, "payment_status": "unpaid"},
    ],
    "expired": [{"type": EXPIRED, "payment_status": "unpaid"}],
    "late": [{"type": EXPIRED, "payment_status": "unpaid"}, {"type": COMPLETED}],
    "wrong amount": [{"type": COMPLETED, "amount_total": 777}],
    "wrong amount twice": [
        {"type": COMPLETED, "amount_total": 777},
        {"type": SUCCEEDED, "amount_total": 777},
    ],
    "wrong currency": [{"type": COMPLETED, "currency": "sar"}],
    "live mode": [{"type": COMPLETED, "livemode": True}],
    "another account": [{"type": COMPLETED, "account": "acct_of_somebody"}],
    "another seller": [{"type": COMPLETED, "metadata": {"freelancerId": "0" * 24}}],
    "other kinds": [{"type": "payment_intent.succeeded"}, {"type": "charge.updated"}],
}
"""What is told of a session, in order, each as the differences to a plain paid one."""

STORIES = {
    ("contract", "paid"): 300,
    ("contract", "said twice"): 250,
    ("contract", "slow"): 250,
    ("contract", "waiting"): 50,
    ("contract", "bounced"): 150,
    ("contract", "expired"): 100,
    ("contract", "late"): 100,
    ("contract", "wrong amount"): 60,
    ("contract", "wrong amount twice"): 40,
    ("contract", "wrong currency"): 40,
    ("contract", "live mode"): 50,
    ("contract", "another account"): 40,
    ("contract", "another seller"): 40,
    ("contract", "other kinds"): 40,
    ("pay first", "paid"): 200,
    ("pay first", "slow"): 150,
    ("pay first", "bounced"): 50,
    ("pay first", "late"): 50,
    ("two sessions", "paid"): 40,
    ("two sessions", "slow"): 20,
    ("cancelled", "paid"): 80,
    ("cancelled", "slow"): 50,
    ("somebody else hired", "said twice"): 80,
    ("unknown", "paid"): 80,
    ("unknown", "said twice"): 40,
    ("partner's", "paid"): 24,
    ("partner's", "slow"): 24,
    ("partner's", "waiting"): 8,
    ("partner's", "bounced"): 16,
    ("partner's", "late"): 8,
    ("partner's cancelled", "slow"): 16,
}
"""How many of each; of two sessions there are two for one job."""

NO_MONEY = ("waiting", "bounced", "expired", "live mode", "another account", "other kinds")
"""Endings in which no money of ours has come."""


class Telling(msgspec.Struct, frozen=True):
    """An event as it is posted."""

    event_id: str
    body: bytes


class Session(msgspec.Struct, frozen=True):
    """What is told of one session. `brings_minor`, in `currency`: what its provider then has."""

    id: str
    told: list[Telling]
    brings_minor: int
    currency: str


# -- what is told -------------------------------------------------------------------------------


def _session(plain: dict[str, Any], ending: str) -> Session:
    """`plain`: the object of a paid session."""
    # One moment for all that is told of a job: which of its events brings the money is chance.
    draw = random.Random(plain["metadata"].get("jobId", plain["id"]))
    created = BEGAN_SECONDS - draw.randrange(DAYS_LATE_MAX) * 86_400
    told, last = [], plain
    for number, changes in enumerate(ENDINGS[ending]):
        of_event: dict[str, Any] = {
            key: changes[key] for key in ("type", "account") if key in changes
        }
        of_session = {key: value for key, value in changes.items() if key not in of_event}
        if "metadata" in of_session:
            of_session["metadata"] = plain["metadata"] | of_session["metadata"]
        last = plain | of_session
        event_id = f"evt_{plain['id']}_{number}"
        body: dict[str, Any] = {
            "id": event_id,
            "object": "event",
            "created": created,
            "livemode": last["livemode"],
            "data": {"object": last},
            **of_event,
        }
        told.append(Telling(event_id, msgspec.json.encode(body)))
    brings_minor = 0 if ending in NO_MONEY else last["amount_total"]
    return Session(plain["id"], told, brings_minor, last["currency"].upper())


def _plain(id_: str, amount_minor: int, currency: str, metadata: dict[str, str]) -> dict[str, Any]:
    return {
        "id": id_,
        "object": "checkout.session",
        "amount_total": amount_minor,
        "currency": currency.lower(),
        "livemode": False,
        "metadata": metadata,
        "payment_intent": f"pi_{id_}",
        "payment_status": "paid",
    }


# -- seeding ------------------------------------------------------------------------------------

RATES = (
    "UPDATE job SET rate_minor = rate_minor + 100 * (id % 89) RETURNING id, public_id, rate_minor"
)
APPLY = """
INSERT INTO application (id, public_id, job_id, freelancer_id)
SELECT a.id, a.public_id, a.job_id, $1
FROM unnest($2::bigint[], $3::text[], $4::bigint[]) AS a (id, public_id, job_id)
"""
PUBLIC_IDS = "SELECT id, public_id FROM party WHERE id = ANY($1::bigint[])"
SESSION_OF_DEAL = """
SELECT p.session_id FROM payment AS p INNER JOIN contract AS c ON c.id = p.contract_id
WHERE c.number = $1
"""
OF_OUTBOX = "SELECT body FROM sandbox.outbox WHERE session_id = $1 ORDER BY position LIMIT 1"


async def seed(app: Litestar, broker: Broker) -> list[Session]:
    """Everything that STORIES counts, ready for its events."""
    core: Core = app.state.core
    buyer, bob, mallet = await seeding.add_parties(core.pool, core.keys, 3)
    ours = [(story, n) for story, count in STORIES.items() for n in range(count)]
    of_jobs = [story for story, _ in ours if story[0] != "unknown" and "'s" not in story[0]]
    keyed = await seeding.add_jobs(core.pool, core.keys, len(of_jobs), client=buyer)
    async with core.pool.connection() as conn:
        jobs = await conn.fetch(RATES)
        names = {row[0]: row[1] for row in await conn.fetch(PUBLIC_IDS, [buyer, bob, mallet])}
        made = [(await core.keys.ids()).new_object(datetime.now(UTC)) for _ in keyed]
        await conn.execute(APPLY, bob, [key for key, _ in made], [id_ for _, id_ in made], keyed)
    seeder = _Seeder(core, buyer, bob, mallet, names)
    coming = iter(zip(of_jobs, jobs, strict=True))

    async def work() -> None:
        for of, row in coming:
            await seeder.job(*of, row)

    # A few at a time: thousands would wait for each other's keys.
    await asyncio.gather(*(work() for _ in range(SEEDED_AT_ONCE)))
    for (situation, ending), number in ours:
        if situation == "unknown":
            metadata = {"paymentId": "0" * 24, "jobId": "0" * 24}
            plain = _plain(f"cs_unknown_{ending[:4]}_{number}", 4_200 + number, "INR", metadata)
            seeder.sessions.append(_session(plain, ending))
        elif "'s" in situation:
            seeder.sessions.append(await _of_partner(app, broker, situation, ending))
    return sorted(seeder.sessions, key=lambda one: one.id)


class _Seeder:
    def __init__(
        self, core: Core, buyer: int, bob: int, mallet: int, names: dict[int, PublicId]
    ) -> None:
        self.core, self.buyer, self.bob, self.mallet = core, buyer, bob, mallet
        self.names = names
        self.sessions: list[Session] = []
        self._alice = Actor(Role.CLIENT, buyer, names[buyer])

    async def job(self, situation: str, ending: str, job: Any) -> None:
        """The job of `job` (key, public id, rate in minor units), come to `situation`."""
        key, public_id, rate_minor = job
        contract = None
        if situation in ("contract", "cancelled"):
            contract = await self._contract(key, self.bob, rate_minor)
        payment = await self._open(key, public_id, rate_minor, contract)
        self._told(payment, ending)
        if situation == "cancelled":
            assert contract is not None
            ids = await self.core.keys.ids()
            await self._commit(cancel(contract, self._alice, datetime.now(UTC), ids))
        elif situation == "somebody else hired":
            await self._contract(key, self.mallet, rate_minor)
        elif situation == "two sessions":
            await self._payment(payment, "payment.expired", state=PaymentState.EXPIRED)
            self._told(await self._open(key, public_id, rate_minor, None), ending)

    def _told(self, payment: Payment, ending: str) -> None:
        assert payment.session_id is not None
        plain = _plain(payment.session_id, payment.amount_minor, payment.currency, payment.metadata)
        self.sessions.append(_session(plain, ending))

    async def _contract(self, job: int, seller: int, rate_minor: int) -> Contract:
        ids = await self.core.keys.ids()
        now = datetime.now(UTC)
        draft = self._draft(job, seller, rate_minor, now, ids)
        told = ("contract.created", created_body(draft))
        contract, events = record(draft, self._alice, now, ids, told)
        await self._commit(of_contract(contract, events))
        return contract

    def _draft(self, job: int, seller: int, rate_minor: int, now: datetime, ids: Any) -> Contract:
        return new_contract(
            seeding.BUSINESS,
            buyer=self.buyer,
            seller=seller,
            job=job,
            title="Logo for a bakery",
            amount_minor=rate_minor,
            now=now,
            ids=ids,
        )

    async def _open(
        self, job: int, known_as: PublicId, rate_minor: int, contract: Contract | None
    ) -> Payment:
        ids = await self.core.keys.ids()
        now = datetime.now(UTC)
        priced = contract or self._draft(job, self.bob, rate_minor, now, ids)
        key, public_id = ids.new_object(now)
        payment = Payment(
            key=key,
            public_id=public_id,
            business=MARKETPLACE,
            job=job,
            buyer=self.buyer,
            seller=self.bob,
            provider_account=self.core.provider_account,
            amount_minor=priced.charge_minor,
            currency=priced.currency,
            metadata=checkout_metadata(
                public_id, {"jobId": known_as}, self.names[self.buyer], self.names[self.bob]
            ),
            created_at=now,
            version=0,
            commit_id=0,
            updated_at=now,
            contract=contract.key if contract is not None else None,
        )
        return await self._payment(
            payment,
            "payment.opened",
            state=PaymentState.OPEN,
            session_id=f"cs_storm_{key}",
            session_url="http://127.0.0.1/pay",
            session_expires_at=now + timedelta(days=1),
        )

    async def _payment(self, payment: Payment, happened: str, **changes: Any) -> Payment:
        ids = await self.core.keys.ids()
        change = payment_change(payment, happened, SYSTEM, datetime.now(UTC), ids, {}, **changes)
        await self._commit(change)
        assert change.payment is not None
        return change.payment

    async def _commit(self, change: Change) -> None:
        assert await self.core.door.commit(Commit(change))


async def _of_partner(app: Litestar, broker: Broker, situation: str, ending: str) -> Session:
    """A partner's contract whose buyer is at the provider's page; events as that would write them,
    from the one that the sandbox writes for a payer."""
    deal = await Deal.at(broker, "pending")
    async with caller(app) as huda:
        path = f"/sandbox/checkout/{deal.token}/complete"
        answer = await huda.post(path, json={"outcome": "paid"})
        assert answer.status_code == 200, answer.text
    async with app.state.pool.connection() as conn:
        session = await conn.fetchval(SESSION_OF_DEAL, deal.number)
        written = msgspec.json.decode(await conn.fetchval(OF_OUTBOX, session))
    if situation.endswith("cancelled"):
        assert (await deal.act("cancel", {"by": "buyer"})).status_code == 200
    return _session(written["data"]["object"], ending)


# -- what is left -------------------------------------------------------------------------------

# `who`: the job, without one the contract, without either the session. Keys and the times of
# writing are chance, and which of a job's two sessions funded its contract; nothing else is.
LEFT = """
WITH known AS (
    SELECT p.session_id, p.provider_payment_id, p.state, p.captured_at, p.amount_minor, p.currency,
        p.contract_id IS NOT NULL AS is_bound,
        coalesce('job ' || p.job_id::text, 'contract ' || c.number) AS who
    FROM payment AS p LEFT JOIN contract AS c ON c.id = p.contract_id
)
SELECT concat_ws(' ', 'payment', k.who, k.state, k.is_bound, k.amount_minor, k.currency,
    k.captured_at) FROM known AS k
UNION ALL
SELECT concat_ws(' ', 'paid by', k.who, k.provider_payment_id) FROM known AS k
UNION ALL
SELECT concat_ws(' ', 'contract', coalesce('job ' || c.job_id::text, c.number), c.buyer_id,
    c.seller_id, c.amount_minor, c.currency, c.agreement, c.work, c.dispute, c.tranches::text,
    c.unclaimed, c.funded_at IS NOT NULL, c.cancelled_by)
FROM contract AS c
UNION ALL
SELECT concat_ws(' ', 'refund', c.number, r.kind, r.state, r.amount_minor, r.currency, r.parts)
FROM refund AS r INNER JOIN contract AS c ON c.id = r.contract_id
UNION ALL
SELECT concat_ws(' ', 'transfer', t.movement, t.debit >> 57, t.credit >> 57, (t.debit >> 47) & 1023,
    coalesce('job ' || c.job_id::text, c.number), t.amount_minor, t.occurred_at)
FROM transfer AS t LEFT JOIN contract AS c ON c.id = t.contract_id
UNION ALL
SELECT concat_ws(' ', 'balance', b.account >> 57, (b.account >> 47) & 1023,
    coalesce('job ' || c.job_id::text, c.number, (b.account & ((1::bigint << 40) - 1))::text),
    b.amount_minor)
FROM balance AS b
LEFT JOIN contract AS c ON b.account >> 57 = 1 AND c.id = b.account & ((1::bigint << 40) - 1)
UNION ALL
SELECT concat_ws(' ', 'money', coalesce(k.who, e.session_id), e.outcome, count(*))
FROM provider_event AS e LEFT JOIN known AS k ON k.session_id = e.session_id
WHERE e.took_money
GROUP BY k.who, e.session_id, e.outcome
"""


async def what_is_left(app: Litestar) -> list[str]:
    """A line for everything that must not depend on the order of events."""
    async with app.state.pool.connection() as conn:
        return sorted(row[0] for row in await conn.fetch(LEFT))


INBOX = "SELECT event_id FROM provider_event ORDER BY event_id"
CASH = """
SELECT (t.debit >> 47) & 1023 AS currency, sum(t.amount_minor) AS amount_minor
FROM transfer AS t WHERE t.debit >> 57 = 3 GROUP BY 1
"""


async def inbox(app: Litestar) -> list[str]:
    """The ids of all events that were consumed."""
    async with app.state.pool.connection() as conn:
        return [row[0] for row in await conn.fetch(INBOX)]


async def cash_minor(app: Litestar) -> dict[int, int]:
    """What has come in at the provider, by the number of the currency."""
    async with app.state.pool.connection() as conn:
        return {row[0]: int(row[1]) for row in await conn.fetch(CASH)}
