"""Money that is held for 60, 80 and 89 days: told once each, with what might be done about it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from alerted import advance, kinds, look, open_alerts, rows
from conftest import TestDatabase
from deal import Deal
from earnest.domain.alert import EVIDENCE_DAYS, HOLD_DAYS, LATE_ATTEMPTS, LATE_SECONDS
from earnest.domain.party import SYSTEM
from earnest.store import alerts, holds
from earnest.store.verify import verify
from life import Life, accepted
from partners import Broker
from refusals import only_for
from test_pay_first import paid_after
from web import Cast

PATH = "/api/admin/holds"
ALL_HELD = "SELECT sum(amount_minor)::bigint FROM balance WHERE account >> 57 = 1"
EVENTS = "SELECT subject, actor, body FROM event WHERE type = 'hold.limit' ORDER BY id"


async def held(cast: Cast) -> list[dict[str, Any]]:
    """What is listed as held for too long, once the worker has looked."""
    await look(cast.app)
    body = accepted(await cast.olga.get(PATH))
    assert list(body) == ["success", "data", "total", "currentPage", "totalPages"]
    data: list[dict[str, Any]] = body["data"]
    assert body["total"] == len(data)
    return data


async def in_order(cast: Cast) -> None:
    report = await verify(cast.app.state.settings.database_url)
    assert report.violations == (), report.lines()


async def test_it_tells_each_limit_once(cast: Cast) -> None:
    life = await Life.at(cast, "ongoing", rate=2500)
    await advance(cast.app, days=59.9)
    assert await look(cast.app) == 0
    assert await held(cast) == []
    for days, stage in ((0.2, 60), (20, 80), (9, 89)):
        await advance(cast.app, days=days)
        assert await look(cast.app) == 1
        assert await look(cast.app) == 0
        (alert,) = await open_alerts(cast)
        assert (alert["kind"], alert["stage"]) == ("hold_limit", stage)
        assert alert["subject"] == f"contract:{life.contract}"
        assert (alert["amount"], alert["currency"]) == (2500, "INR")
        (one,) = await held(cast)
        assert (one["_id"], one["limitDays"], one["days"]) == (life.contract, stage, stage)
    told = await rows(cast.app, EVENTS)
    assert [(subject, actor) for subject, actor, _ in told] == [
        (f"contract:{life.contract}", "system:0")
    ] * 3
    assert [json.loads(body) for _, _, body in told] == [
        {
            "amount_minor": 250_000,
            "currency": "INR",
            "days": stage,
            "proposal": "ask_both",
            "stage": stage,
        }
        for stage in (60, 80, 89)
    ]
    await advance(cast.app, days=300)
    assert await look(cast.app) == 0
    await in_order(cast)


async def test_it_tells_all_limits_when_nobody_looked_for_long(cast: Cast) -> None:
    """And leaves the last one open: it says it all."""
    await Life.at(cast, "ongoing")
    await advance(cast.app, days=95)
    assert await look(cast.app) == 3
    (alert,) = await open_alerts(cast)
    assert alert["stage"] == 89
    assert len(await rows(cast.app, EVENTS)) == 3
    assert await look(cast.app) == 0


@pytest.mark.parametrize(
    ("point", "proposal"),
    [
        ("paid", "refund"),
        ("started", "ask_both"),
        ("ongoing", "ask_both"),
        ("completed", "release"),
        ("requested", "release"),
    ],
)
async def test_it_proposes_what_fits(cast: Cast, point: str, proposal: str) -> None:
    life = await Life.at(cast, point)
    await advance(cast.app, days=61)
    (one,) = await held(cast)
    assert (one["kind"], one["_id"], one["proposal"]) == ("contract", life.contract, proposal)
    assert one["contractNumber"].startswith("CON")


async def test_it_is_over_when_the_money_has_gone_where_it_belongs(cast: Cast) -> None:
    life = await Life.at(cast, "requested")
    await advance(cast.app, days=61)
    assert await look(cast.app) == 1
    accepted(await cast.olga.put(f"/api/admin/escrow/release-fund/{life.contract}"))
    await look(cast.app)
    assert await kinds(cast) == []
    assert await held(cast) == []
    await advance(cast.app, days=30)
    assert await look(cast.app) == 0
    await in_order(cast)


async def test_it_tells_of_parked_money(cast: Cast) -> None:
    """Alice paid for a job, and nobody was hired."""
    life, _ = await paid_after(cast, "application withdrawn")
    await advance(cast.app, days=80.1)
    assert await look(cast.app) == 2
    (one,) = await held(cast)
    assert (one["kind"], one["contractNumber"]) == ("payment", None)
    assert (one["proposal"], one["limitDays"]) == ("attach_or_refund", 80)
    assert one["amount"] == await life.rate()
    (alert,) = await open_alerts(cast)
    assert alert["subject"] == f"payment:{one['_id']}"
    await in_order(cast)


async def test_it_counts_what_is_still_held(cast: Cast, broker: Broker) -> None:
    """The half that was released is gone."""
    deal = await Deal.at(broker, "paid")
    (before,) = await rows(cast.app, ALL_HELD)
    assert (await deal.release(milestone=0)).status_code == 200
    (after,) = await rows(cast.app, ALL_HELD)
    assert 0 < after[0] < before[0]
    await advance(cast.app, days=61)
    assert await look(cast.app) == 1
    (one,) = await held(cast)
    assert (round(one["amount"] * 100), one["currency"]) == (after[0], "SAR")


async def test_it_shows_the_oldest_first_page_by_page(cast: Cast) -> None:
    lives = []
    for _ in range(3):
        lives.append(await Life.at(cast, "ongoing"))
        await advance(cast.app, seconds=60)
    await advance(cast.app, days=61)
    assert [one["_id"] for one in await held(cast)] == [life.contract for life in lives]
    page = accepted(await cast.olga.get(PATH, params={"page": 2, "limit": 2}))
    assert [one["_id"] for one in page["data"]] == [lives[2].contract]
    assert (page["total"], page["currentPage"], page["totalPages"]) == (3, 2, 2)


async def test_it_is_for_admins(cast: Cast) -> None:
    await only_for(cast, lambda who: who.get(PATH), cast.olga)


# -- many of them -----------------------------------------------------------------------------

COPIES = """
INSERT INTO contract (
    id, public_id, business_id, number, buyer_id, seller_id, job_id, currency, amount_minor,
    created_at, version, commit_id, updated_at, agreement, work, dispute, tranches, funded_at,
    settled_at, cancel_reason, cancel_reason_description, unclaimed, event_seq, event_head
)
SELECT
    c.id + 1000000 + g.i, c.public_id || g.i, c.business_id, c.number || g.i, c.buyer_id,
    c.seller_id, NULL, c.currency, c.amount_minor, c.created_at, c.version, c.commit_id,
    c.updated_at, c.agreement, c.work, c.dispute, c.tranches,
    $1::timestamptz + make_interval(secs => g.i), NULL, '', '', FALSE, 1,
    c.event_head
FROM (SELECT o.* FROM contract AS o ORDER BY o.id LIMIT 1) AS c, generate_series(1, 20000) AS g (i)
"""


MORE_REFUNDS = """
INSERT INTO refund (
    id, public_id, business_id, contract_id, payment_id, kind, parts, amount_minor, currency,
    reason, created_at, version, commit_id, updated_at, state, attempts, calls,
    provider_refund_id, last_error
)
SELECT
    r.id + 1000000 + g.i, r.public_id || g.i, r.business_id, r.contract_id, r.payment_id, r.kind,
    r.parts, r.amount_minor, r.currency, r.reason, r.created_at, r.version, r.commit_id,
    r.updated_at, r.state, r.attempts, r.calls, r.provider_refund_id || g.i, ''
FROM refund AS r, generate_series(1, 20000) AS g (i)
"""


def walked(plan: str) -> set[str]:
    """The tables that a plan reads from one end to the other."""
    found: set[str] = set()

    def look_at(node: dict[str, Any]) -> None:
        if node["Node Type"] == "Seq Scan":
            found.add(node["Relation Name"])
        for below in node.get("Plans", ()):
            look_at(below)

    look_at(json.loads(plan)[0]["Plan"])
    return found


async def test_it_looks_at_what_is_in_trouble_only(
    cast: Cast, broker: Broker, database: TestDatabase
) -> None:
    """Twenty thousand contracts whose money is held since today cost the worker nothing, nor do
    as many refunds that are done."""
    await Life.at(cast, "ongoing")
    deal = await Deal.at(broker, "paid")
    assert (await deal.refund()).status_code == 200
    assert await deal.settle() == 1
    async with cast.app.state.pool.connection() as conn:
        await conn.execute(COPIES, datetime.now(UTC))
        await conn.execute(MORE_REFUNDS)
        owner = await asyncpg.connect(database.owner_dsn)
        await owner.execute("ANALYZE")
        await owner.close()
        explain = "EXPLAIN (FORMAT JSON) "
        long_ago = datetime.now(UTC) - timedelta(days=HOLD_DAYS[0])
        moments = long_ago - timedelta(days=1), long_ago
        limits = await conn.fetchval(explain + holds.PAST_LIMIT, HOLD_DAYS[0], *moments, 100)
        listed = await conn.fetchval(explain + holds.TOLD_OF, 100, 0)
        causes = await conn.fetchval(
            explain + alerts.FIND,
            list(EVIDENCE_DAYS),
            LATE_SECONDS,
            SYSTEM.name,
            100,
            LATE_ATTEMPTS,
        )
        over = await conn.fetchval(explain + alerts.CLOSE_OVER, SYSTEM.name)
    assert "contract_funded_at" in limits
    assert "contract_pkey" in listed
    assert "refund_by_state" in causes
    for plan in (limits, listed, causes, over):
        assert walked(plan) & {"contract", "payment", "refund", "payout", "transfer"} <= {
            "payment",
            "payout",
        }
