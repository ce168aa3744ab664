"""Whole lives of contracts, in bulk: hired, paid for, worked on, released.

Every step is decided by the product's own functions and committed through its own door, with the
provider's event as it was signed, so that `earnest verify` finds nothing wrong with what comes out.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec

from bench import seeding
from earnest.actions.checkout_sessions import opened
from earnest.actions.core import Core
from earnest.domain.capture import Situation, take_capture
from earnest.domain.change import Change
from earnest.domain.contract import Contract
from earnest.domain.hiring import Hire, Job, create_contract, open_payment
from earnest.domain.party import Actor, Role
from earnest.domain.payment import Capture, CaptureKind, Payment
from earnest.domain.verbs import approve, approve_release, complete, request_release, work_on
from earnest.ids import Ids, PublicId
from earnest.ledger.movements import expand
from earnest.providers.base import CheckoutSession
from earnest.store import accounts
from earnest.store.commit import Commit

EVENTS_PER_LIFE = 9
SELLERS = 500
AT_ONCE = 1_000

JOBS = "SELECT id, public_id FROM job WHERE id = ANY($1::bigint[])"
PEOPLE = "SELECT id, public_id FROM party WHERE id = ANY($1::bigint[])"

_numbers = itertools.count(1)


class Life(msgspec.Struct):
    """A contract on its way, `contract` and `payment` as the last commit left them."""

    job: Job
    client: Actor
    seller: Actor
    contract: Contract | None = None
    payment: Payment | None = None

    def took(self, change: Change) -> None:
        self.contract = change.contract or self.contract
        self.payment = change.payment or self.payment


Step = Callable[[Life, datetime, Ids], Change]


async def live(core: Core, count: int, say: Callable[[str], None]) -> None:
    """`count` contracts from creation to release, with EVENTS_PER_LIFE events each."""
    buyer, *sellers = await seeding.add_parties(core.pool, core.keys, SELLERS + 1)
    await seeding.add_logins(core.pool, buyer, sellers)
    admin = await _admin(core)
    steps = _steps(core, admin)
    async with core.pool.connection() as conn:
        ids = {row[0]: PublicId(row[1]) for row in await conn.fetch(PEOPLE, [buyer, *sellers])}
    client = Actor(Role.CLIENT, buyer, ids[buyer])
    people = [Actor(Role.FREELANCER, key, ids[key]) for key in sellers]
    for first in range(0, count, AT_ONCE):
        lives = await _jobs(core, min(AT_ONCE, count - first), client, people)
        for step in steps:
            await asyncio.gather(*(_take(core, step, life) for life in lives))
        if first % (50 * AT_ONCE) == 0 and first:
            say(f"{first:,} of {count:,} lives")


async def _take(core: Core, step: Step, life: Life) -> None:
    ids = await core.keys.ids()
    change = step(life, datetime.now(UTC), ids)
    assert await core.door.commit(Commit(change, expand(change, ids)))
    life.took(change)


def _steps(core: Core, admin: Actor) -> tuple[Step, ...]:
    business = seeding.BUSINESS

    def contract(life: Life) -> Contract:
        assert life.contract is not None
        return life.contract

    def hire(life: Life) -> Hire:
        return Hire(
            life.job, life.seller.key, life.seller.public_id, True, life.contract, life.payment
        )

    def opening(life: Life, now: datetime, ids: Ids) -> Change:
        made = open_payment(hire(life), business, core.provider_account, life.client, now, ids)
        assert isinstance(made, Change)
        return made

    def open_(life: Life, now: datetime, ids: Ids) -> Change:
        assert life.payment is not None
        session = CheckoutSession(
            f"cs_bench_{life.payment.key}", "http://127.0.0.1/pay", now + timedelta(days=1)
        )
        return opened(life.payment, session, life.client, now, ids)

    def paid(life: Life, now: datetime, ids: Ids) -> Change:
        assert life.payment is not None
        around = Situation(life.payment, life.contract, life.contract, None, True, False, False)
        return take_capture(_capture(core, life.payment, now), around, business, now, ids)

    return (
        lambda life, now, ids: create_contract(
            hire(life), business, life.client, now, ids, seeding.AMOUNT_MINOR
        ),
        lambda life, now, ids: approve(contract(life), business, life.seller, now, ids),
        opening,
        open_,
        paid,
        lambda life, now, ids: work_on(contract(life), life.seller, now, ids),
        lambda life, now, ids: complete(contract(life), life.seller, now, ids),
        lambda life, now, ids: request_release(contract(life), life.client, now, ids),
        lambda life, now, ids: approve_release(contract(life), business, admin, now, ids),
    )


def _capture(core: Core, payment: Payment, now: datetime) -> Capture:
    number = next(_numbers)
    session = {
        "id": payment.session_id,
        "amount_total": payment.amount_minor,
        "currency": payment.currency.lower(),
        "payment_intent": f"pi_bench_{number}",
        "metadata": payment.metadata,
    }
    event = {"id": f"evt_bench_{number}", "livemode": False, "data": {"object": session}}
    return Capture(
        provider=core.provider_name,
        provider_account=core.provider_account,
        event_id=f"evt_bench_{number}",
        type="checkout.session.completed",
        kind=CaptureKind.PAID,
        ours=True,
        occurred_at=now,
        payload=msgspec.json.encode(event),
        session_id=payment.session_id,
        provider_payment_id=f"pi_bench_{number}",
        amount_minor=payment.amount_minor,
        currency=payment.currency,
        metadata=payment.metadata,
    )


async def _admin(core: Core) -> Actor:
    async with core.pool.connection() as conn:
        admin = await accounts.create(
            conn,
            name="Olga",
            email="olga@example.com",
            email_canonical="olga@example.com",
            role=Role.ADMIN,
            password_hash="",
        )
        key = await conn.fetchval("SELECT id FROM party WHERE public_id = $1", admin)
    return Actor(Role.ADMIN, key, admin)


async def _jobs(core: Core, count: int, client: Actor, people: list[Actor]) -> list[Life]:
    keyed = await seeding.add_jobs(core.pool, core.keys, count, client=client.key)
    async with core.pool.connection() as conn:
        rows = await conn.fetch(JOBS, keyed)
    return [
        Life(
            Job(
                key=row[0],
                public_id=PublicId(row[1]),
                client=client.key,
                title="Logo for a bakery",
                description="",
                rate_minor=seeding.AMOUNT_MINOR,
                currency="INR",
                listing="Open",
            ),
            client,
            random.choice(people),
        )
        for row in rows
    ]
