"""What an operator must see: told once, by a line, a letter and a list; closed when it is over."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from alerted import PATH, advance, kinds, letters_to, look, open_alerts, rows
from checkout_event import opened, tell
from deal import Deal
from earnest.actions.accounts import create_admin
from earnest.errors import ProviderPermanent, ProviderTransient
from earnest.store.verify import verify
from earnest.worker.alerts import LETTER_PAUSE
from life import Life, accepted
from partners import Broker
from refusals import only_for, refused, refuses_ids
from reluctant import reluctant
from web import PASSWORD, Cast, caller, problem

KEYS = [
    "_id",
    "kind",
    "subject",
    "stage",
    "what",
    "detail",
    "advice",
    "amount",
    "currency",
    "isOpen",
    "raisedAt",
    "closedAt",
    "closedBy",
]
CLOSED = "SELECT subject, actor FROM event WHERE type = 'alert.closed' ORDER BY id"


async def failed_refund(broker: Broker) -> Deal:
    """The provider has refused it for good."""
    deal = await Deal.at(broker, "paid")
    assert (await deal.refund()).status_code == 200
    reluctant(broker.app, ProviderPermanent("The card is gone."))
    assert await deal.settle() == 1
    return deal


async def chargeback(cast: Cast, *, state: str = "open", days: float = 10) -> int:
    """A dispute of a payment of Alice's, as the worker keeps it; evidence is due in `days`."""
    await Life.at(cast, "paid")
    async with cast.app.state.pool.connection() as conn:
        return int(
            await conn.fetchval(
                "INSERT INTO chargeback (id, public_id, business_id, payment_id, contract_id,"
                " provider_account_id, provider_dispute_id, currency, created_at, version,"
                " commit_id, updated_at, state, amount_minor, reason, evidence_due_at, lines,"
                " attempts, last_error)"
                " SELECT nextval('object_key'), left(p.public_id, 23) || 'c', 1, p.id,"
                " p.contract_id, 1, 'du_1', 'INR', now(), 1, 1, now(), $1, 1200000, 'fraudulent',"
                " $2, '[]', 1, '' FROM payment AS p RETURNING id",
                state,
                datetime.now(UTC) + timedelta(days=days),
            )
        )


async def in_order(cast: Cast) -> None:
    report = await verify(cast.app.state.settings.database_url)
    assert report.violations == (), report.lines()


# -- what is told -----------------------------------------------------------------------------


async def test_it_has_nothing_to_say_while_all_is_well(cast: Cast, broker: Broker) -> None:
    await Life.at(cast, "released")
    deal = await Deal.at(broker, "paid")
    assert (await deal.refund()).status_code == 200
    await deal.settle()
    assert await look(cast.app) == 0
    assert await open_alerts(cast) == []
    assert await letters_to(cast, cast.olga.email) == []


async def test_it_tells_of_a_refund_that_failed(cast: Cast, broker: Broker) -> None:
    await failed_refund(broker)
    assert await look(cast.app) == 1
    assert await look(cast.app) == 0
    (alert,) = await open_alerts(cast)
    assert list(alert) == KEYS
    (refund,) = accepted(await cast.olga.get("/api/admin/refunds?status=failed"))["data"]
    assert (alert["kind"], alert["subject"]) == ("refund_failed", f"refund:{refund['_id']}")
    assert (alert["amount"], alert["currency"]) == (1000, "SAR")
    assert alert["detail"] == "The card is gone."
    assert f"PUT /api/admin/refunds/{refund['_id']}/retry" in alert["advice"]
    assert (alert["isOpen"], alert["closedAt"], alert["closedBy"]) == (True, None, None)
    await in_order(cast)


async def test_it_writes_one_letter_to_every_active_admin(cast: Cast, broker: Broker) -> None:
    pool = cast.app.state.pool
    for name in ("otto", "oskar"):
        await create_admin(pool, f"{name}@example.com", PASSWORD, name.title())
    async with pool.connection() as conn:
        await conn.execute(
            "UPDATE login SET status = 'Blocked' WHERE email_canonical = 'oskar@example.com'"
        )
    await failed_refund(broker)
    await failed_refund(broker)
    assert await look(cast.app) == 2
    (letter,) = await letters_to(cast, cast.olga.email)
    (other,) = await letters_to(cast, "otto@example.com")
    assert letter["subject"] == other["subject"] == "Earnest: 2 things to look at"
    assert letter["text"] == other["text"]
    for alert in await open_alerts(cast):
        assert alert["subject"] in letter["text"]
        assert alert["advice"] in letter["text"]
    assert "Amount: 1000.00 SAR" in letter["text"]
    for private in ("Huda", "Omar", "Demo Broker", "966583944460", "@"):
        assert private not in letter["text"]
    assert await letters_to(cast, "oskar@example.com") == [], "he is blocked"


async def test_it_gathers_what_comes_soon_after_a_letter(cast: Cast, broker: Broker) -> None:
    for _ in range(3):
        await failed_refund(broker)
        assert await look(cast.app) == 1
    assert len(await letters_to(cast, cast.olga.email)) == 1
    await advance(cast.app, seconds=int(LETTER_PAUSE.total_seconds()) + 1)
    assert await look(cast.app) == 0
    newest, oldest = await letters_to(cast, cast.olga.email)
    assert (newest["subject"], oldest["subject"]) == (
        "Earnest: 2 things to look at",
        "Earnest: one thing to look at",
    )
    await advance(cast.app, seconds=3600)
    await look(cast.app)
    assert len(await letters_to(cast, cast.olga.email)) == 2


async def test_it_tells_of_an_event_that_was_quarantined(cast: Cast) -> None:
    _, event = await opened(cast)
    event = event.but(amount_minor=1)
    await tell(cast, event)
    assert await look(cast.app) == 1
    (alert,) = await open_alerts(cast)
    assert (alert["kind"], alert["subject"]) == ("event_quarantined", f"event:{event.id}")
    assert alert["detail"] != ""
    await advance(cast.app, days=30)
    assert await look(cast.app) == 0
    assert await kinds(cast) == ["event_quarantined"]


async def test_it_tells_of_a_call_that_is_not_done_after_15_minutes(
    cast: Cast, broker: Broker
) -> None:
    deal = await Deal.at(broker, "paid")
    assert (await deal.refund()).status_code == 200
    reluctant(broker.app, *[ProviderTransient("Busy.") for _ in range(20)])
    await deal.settle()
    for _ in range(14):
        await advance(cast.app, seconds=60)
        await deal.settle()
        assert await look(cast.app) == 0
    await advance(cast.app, seconds=61)
    assert await look(cast.app) == 1
    (alert,) = await open_alerts(cast)
    assert (alert["kind"], alert["detail"]) == ("call_late", "Busy.")
    reluctant(broker.app)
    await advance(cast.app, seconds=600)
    assert await deal.settle() == 1
    assert await look(cast.app) == 0
    assert await open_alerts(cast) == []
    await in_order(cast)


async def test_it_tells_of_a_chargeback_and_of_its_deadline(cast: Cast) -> None:
    key = await chargeback(cast, days=10)
    assert await look(cast.app) == 1
    (alert,) = await open_alerts(cast)
    assert (alert["kind"], alert["stage"]) == ("chargeback_open", 0)
    assert alert["detail"].startswith("fraudulent, evidence until 20")
    due = "UPDATE chargeback SET evidence_due_at = now() + interval '{}' WHERE id = {}"
    for left, stage in (("71 hours", 3), ("23 hours", 1)):
        async with cast.app.state.pool.connection() as conn:
            await conn.execute(due.format(left, key))
        assert await look(cast.app) == 1
        assert await look(cast.app) == 0
        newest = (await open_alerts(cast))[0]
        assert (newest["kind"], newest["stage"]) == ("evidence_due", stage)
    async with cast.app.state.pool.connection() as conn:
        await conn.execute("UPDATE chargeback SET state = 'review' WHERE id = $1", key)
    assert await look(cast.app) == 0
    assert await open_alerts(cast) == []
    async with cast.app.state.pool.connection() as conn:
        await conn.execute("UPDATE chargeback SET state = 'lost' WHERE id = $1", key)
    assert [await look(cast.app) for _ in range(2)] == [1, 0]
    (alert,) = await open_alerts(cast)
    assert (alert["kind"], alert["amount"]) == ("chargeback_lost", 12000)


async def test_it_tells_of_a_webhook_that_was_disabled(cast: Cast, broker: Broker) -> None:
    async with cast.app.state.pool.connection() as conn:
        await conn.execute(
            "INSERT INTO webhook_endpoint (id, business_id, url, secret, is_active, disabled_at,"
            " disabled_for, created_at, updated_at)"
            " SELECT gen_random_uuid(), b.id, 'https://broker.example/hook', '\\x00', FALSE,"
            " now(), 'gone', now(), now() FROM business AS b WHERE b.public_id = $1",
            broker.business_id,
        )
    for _ in range(2):
        assert await look(cast.app) == 1
        (alert,) = await open_alerts(cast)
        assert (alert["kind"], alert["detail"]) == ("webhook_disabled", "gone")
        for is_active, why, at in ((True, "", "NULL"), (False, "gone", "now()")):
            async with cast.app.state.pool.connection() as conn:
                await conn.execute(
                    "UPDATE webhook_endpoint SET is_active = $1, disabled_for = $2,"
                    f" disabled_at = {at}",
                    is_active,
                    why,
                )
            if is_active:
                assert await look(cast.app) == 0
                assert await open_alerts(cast) == [], "it closed, and opens again with its cause"


async def test_it_tells_once_however_many_look(cast: Cast, broker: Broker) -> None:
    for _ in range(3):
        await failed_refund(broker)
    raised = await asyncio.gather(*(look(cast.app) for _ in range(8)))
    assert sum(raised) == 3
    assert len(await open_alerts(cast)) == 3
    assert len(await letters_to(cast, cast.olga.email)) == 1


# -- closing ----------------------------------------------------------------------------------


async def test_it_closes_what_is_over_by_itself(cast: Cast, broker: Broker) -> None:
    deal = await failed_refund(broker)
    await look(cast.app)
    (alert,) = await open_alerts(cast)
    assert (await deal.rule("retry")).status_code == 200
    assert await look(cast.app) == 0
    assert await open_alerts(cast) == []
    (closed,) = accepted(await cast.olga.get(PATH))["data"]
    assert (closed["_id"], closed["isOpen"]) == (alert["_id"], False)
    assert closed["closedBy"] == "system:0"
    assert await rows(cast.app, CLOSED) == [(f"alert:{alert['_id']}", "system:0")]
    await in_order(cast)


async def test_it_tells_of_the_same_refund_when_it_fails_again(cast: Cast, broker: Broker) -> None:
    deal = await failed_refund(broker)
    assert await look(cast.app) == 1
    assert (await deal.rule("retry")).status_code == 200
    reluctant(broker.app, ProviderPermanent("Still gone."))
    assert await deal.settle() == 1
    assert await look(cast.app) == 1
    (alert,) = await open_alerts(cast)
    assert alert["detail"] == "Still gone."
    await in_order(cast)


async def test_an_admin_closes_it(cast: Cast, broker: Broker) -> None:
    await failed_refund(broker)
    await look(cast.app)
    (alert,) = await open_alerts(cast)
    path = f"{PATH}/{alert['_id']}/close"
    body = accepted(await cast.olga.put(path))
    assert (body["success"], body["message"]) == (True, "Alert has been closed")
    assert (body["data"]["isOpen"], body["data"]["closedBy"]) == (
        False,
        f"admin:{cast.olga.actor.key}",
    )
    again = accepted(await cast.olga.put(path))
    assert again == body, "once is enough, twice is harmless"
    assert await look(cast.app) == 0
    assert await open_alerts(cast) == []
    assert await rows(cast.app, CLOSED) == [
        (f"alert:{alert['_id']}", f"admin:{cast.olga.actor.key}")
    ]
    await in_order(cast)


async def test_one_key_closes_one_alert(cast: Cast, broker: Broker) -> None:
    for _ in range(2):
        await failed_refund(broker)
    await look(cast.app)
    one, other = [f"{PATH}/{alert['_id']}/close" for alert in await open_alerts(cast)]
    key = {"Idempotency-Key": "seen"}
    first = await cast.olga.put(one, headers=key)
    again = await cast.olga.put(one, headers=key)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    await refused(cast, cast.olga.put(other, headers=key), 422)
    assert len(await open_alerts(cast)) == 1


# -- who, and how it is shown -----------------------------------------------------------------


async def test_it_obeys_admins_only(cast: Cast, broker: Broker) -> None:
    await failed_refund(broker)
    await look(cast.app)
    (alert,) = await open_alerts(cast)
    await only_for(cast, lambda who: who.get(PATH), cast.olga)
    await only_for(cast, lambda who: who.put(f"{PATH}/{alert['_id']}/close"), cast.olga)
    await refuses_ids(cast, lambda one: cast.olga.put(f"{PATH}/{one}/close"), alert["_id"])


@pytest.mark.parametrize("query", ["open=yes", "open=TRUE", "page=0", "limit=x"])
async def test_it_names_what_is_wrong_with_a_query(cast: Cast, query: str) -> None:
    text = await refused(cast, cast.olga.get(f"{PATH}?{query}"), 400)
    assert query.partition("=")[0] in text


async def test_it_lists_by_page(cast: Cast, broker: Broker) -> None:
    for _ in range(3):
        await failed_refund(broker)
        await look(cast.app)
    everything = await open_alerts(cast)
    page = accepted(await cast.olga.get(PATH, params={"page": 2, "limit": 2}))
    assert [one["_id"] for one in page["data"]] == [everything[2]["_id"]]
    assert (page["total"], page["currentPage"], page["totalPages"]) == (3, 2, 2)


async def test_it_is_counted(cast: Cast, broker: Broker) -> None:
    await failed_refund(broker)
    await look(cast.app)
    async with caller(cast.app) as prometheus:
        told = (await prometheus.get("/metrics")).text
    assert 'earnest_alerts_open{kind="refund_failed"} 1.0' in told


async def test_an_unknown_alert_is_not_found(cast: Cast) -> None:
    answer = await cast.olga.put(f"{PATH}/66aa00000000000000000a01/close")
    assert problem(answer, 404)["message"] == "Alert not found"
