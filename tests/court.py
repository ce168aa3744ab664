"""Payers' banks: a provider that says of disputes what a test has it say, and parked money.

life, payment = await paid_for_nobody(cast)                     parked
await Court(cast).says("du_1", DisputeState.OPEN, 500000)       of the latest payment
"""

from typing import Any

import msgspec

from earnest.actions import chargebacks
from earnest.domain import charging_back
from earnest.providers.base import DisputeLine, DisputeState, ProviderDispute
from earnest.store.commit import Commit
from earnest.store.rows import payment_from
from life import Life, accepted, post_event, provider_events
from paying_out import LATEST, later
from web import Cast


async def paid_for_nobody(cast: Cast) -> tuple[Life, str]:
    """A job that is paid for, and whose freelancer has gone; and the payment's id."""
    life = await Life.begin(cast)
    await life.checkout()
    applied = accepted(await cast.bob.get("/api/freelancer/jobs/applied-jobs"))["applications"]
    (mine,) = (one["_id"] for one in applied if one["jobId"]["_id"] == life.job)
    accepted(await cast.bob.delete(f"/api/freelancer/jobs/cancel-application/{mine}"))
    await cast.app.state.provider.complete(life.session, "paid")
    for event in await provider_events(cast, life.session):
        assert (await post_event(cast, event)).status_code == 200
    parked = accepted(await cast.olga.get("/api/admin/escrow/parked-payments"))["data"]
    return life, parked[0]["_id"]


class Court:
    """A provider that says of disputes what a test has it say."""

    def __init__(self, cast: Cast) -> None:
        self.behind, self.app = cast.app.state.core.provider, cast.app
        self.disputes: dict[str, ProviderDispute] = {}
        cast.app.state.core = msgspec.structs.replace(cast.app.state.core, provider=self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.behind, name)

    async def find_dispute(self, dispute_id: str) -> ProviderDispute | None:
        return self.disputes.get(dispute_id)

    async def says(
        self, dispute: str, state: DisputeState, amount_minor: int, payment: Any = None
    ) -> None:
        """Of `payment`, or else the latest one; the worker asks."""
        core, pool = self.app.state.core, self.app.state.pool
        taken = DisputeLine(f"txn_{dispute}_1", -amount_minor, 0)
        given = DisputeLine(f"txn_{dispute}_2", amount_minor, 0)
        lines = (taken, given) if state is DisputeState.WON else (taken,)
        known = dispute in self.disputes
        self.disputes[dispute] = ProviderDispute(
            dispute, "", state, amount_minor, "INR", "fraudulent", None, lines
        )
        if known:
            await later(self.app, 6 * 3600 + 1)
        else:
            async with pool.connection() as conn:
                found = payment or payment_from(await conn.fetchval(LATEST))
                now = await conn.fetchval("SELECT business_now()")
            notice = charging_back.notice(dispute, found, now, await core.keys.ids())
            assert await core.door.commit(Commit(notice))
        await chargebacks.look_up_due(core)
