"""Anything that partners, payers, admins and the worker may do, in any order, against a model.

A schedule is a list of steps; each is a real request to the real application, and the model
(tests/bargain.py) says what the answer must be and what must then be true. Every schedule ends
with all that `earnest verify` checks.
"""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from bargain import Bargain, fees_of
from conftest import TestDatabase
from deal import MILESTONES, Deal
from dealing import sound
from earnest.actions import refunds
from earnest.domain import partner, refusals, returning
from earnest.domain.contract import Contract, Dispute, Money
from earnest.domain.refund import Part, Refund
from house import House
from partners import Broker, make_broker

EXAMPLES = settings().max_examples // 4
MESSAGES = {
    name: " ".join(refusal.__doc__.split())
    for name, refusal in {**vars(refusals), **vars(partner), **vars(returning)}.items()
    if isinstance(refusal, type) and issubclass(refusal, Exception) and refusal.__doc__
}
VERBS = ("approve", "reject", "deliver", "receive", "dispute", "resolve dispute", "cancel")
OUTSIDE = ("bank", "pay", "pay", "pay", "settle", "rule approve", "rule decline")
PLACES = (
    *("approve ok", "reject ok", "deliver ok", "receive ok", "dispute ok", "resolve dispute ok"),
    *("cancel ok", "release ok", "refund ok", "refund RefundPending", "release InDispute"),
    *("pending", "approved", "rejected", "cancelled", "escrow", "dispute", "refundInProgress"),
    *("released", "refunded", "completed", "ruled approve", "ruled decline", "late money"),
)
"""Where a run must have been, or it would say less than it seems to."""

which = st.integers(0, 2)
place = st.one_of(st.none(), st.integers(0, 1))
back = st.one_of(st.none(), st.sampled_from([1, 10_000, 25_003, 39_999, 40_000, 100_000]))
step = st.one_of(
    st.tuples(st.sampled_from(VERBS), which, st.none(), st.none()),
    st.tuples(st.just("release"), which, place, st.none()),
    st.tuples(st.just("refund"), which, place, back),
    st.tuples(st.just("refund"), which, st.integers(0, 1), back),
    st.tuples(st.sampled_from(OUTSIDE), which, st.none(), st.none()),
)
schedules = st.lists(step, min_size=8, max_size=18)
shapes = st.lists(st.booleans(), min_size=3, max_size=3)


# What luck alone would reach too seldom: each of PLACES that needs many right steps.
STORY: list[Any] = [
    ("bank", 0, None, None),
    ("reject", 0, None, None),
    ("pay", 0, None, None),
    ("settle", 0, None, None),
    ("pay", 1, None, None),
    ("dispute", 1, None, None),
    ("refund", 1, None, None),
    ("rule decline", 1, None, None),
    ("release", 1, None, None),
    ("resolve dispute", 1, None, None),
    ("refund", 1, None, 25_003),
    ("rule approve", 1, None, None),
    ("settle", 1, None, None),
    ("pay", 2, None, None),
    ("receive", 2, None, None),
    ("approve", 2, None, None),
    ("release", 2, 0, None),
    ("refund", 2, 1, 10_000),
    ("settle", 2, None, None),
]
SECOND: list[Any] = [
    ("approve", 0, None, None),
    ("pay", 0, None, None),
    ("deliver", 0, None, None),
    ("dispute", 0, None, None),
    ("release", 0, None, None),
    ("resolve dispute", 0, None, None),
    ("release", 0, None, None),
    ("cancel", 1, None, None),
    ("pay", 2, None, None),
    ("cancel", 2, None, None),
    ("settle", 0, None, None),
]


class Table:
    """Two brokers, one of whom sees every refund first, on one database for a whole run."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.seen: Counter[str] = Counter()
        self.brokers: list[Broker] = [
            house.run(make_broker(house.app, "Swift", currency="SAR")),
            house.run(make_broker(house.app, "Careful", refund_approval="admin")),
        ]

    def play(self, shape: list[bool], schedule: list[Any]) -> None:
        self.house.run(self._play(shape, schedule))

    async def _play(self, shape: list[bool], schedule: list[Any]) -> None:
        pairs = [await self._begin(number, plain) for number, plain in enumerate(shape)]
        for verb, number, place, back in schedule:
            deal, bargain = pairs[number]
            index = None if len(bargain.bases) == 1 else place
            if verb == "settle":
                await self._settle(pairs)
            else:
                await self._step(deal, bargain, verb, index, back)
            for each in pairs:
                await self._look(*each)
        await self._settle(pairs)
        for deal, bargain in pairs:
            await self._look(deal, bargain)
            self.seen += bargain.seen
        await sound(self.brokers[0])

    async def _settle(self, pairs: list[tuple[Deal, Bargain]]) -> None:
        """The worker knows no deals: it gives back whatever is due, of all of them."""
        await refunds.send_due(self.house.app.state.core)
        for _, bargain in pairs:
            bargain.settle()

    async def _begin(self, number: int, plain: bool) -> tuple[Deal, Bargain]:
        careful = number == 1
        broker = self.brokers[careful]
        deal = await Deal.begin(broker, Milestones=None if plain else MILESTONES)
        fees, taxes = fees_of(100_000)
        bases, charges = [100_000], [100_000 + fees + taxes]
        if not plain:
            bases = [60_000, 40_000]
            charges = [halalas(one["Amount"]) for one in deal.made["milestones"]]
            assert sum(charges) == 100_000 + fees + taxes
        return deal, Bargain(bases, charges, careful, tranches=["unfunded"] * len(bases))

    async def _step(
        self, deal: Deal, bargain: Bargain, verb: str, place: int | None, back: int | None
    ) -> None:
        if verb == "pay":
            await self._pay(deal, bargain)
        elif verb == "bank":
            if bargain.wait_for_bank():
                await deal.pay("unpaid")
        elif verb.startswith("rule "):
            if bargain.rule(verb.removeprefix("rule ")):
                answer = await deal.rule(verb.removeprefix("rule "))
                assert answer.status_code == 200, answer.text
                self.seen[verb.replace("rule", "ruled")] += 1
        else:
            said = bargain.ask(verb, place, back)
            answer = await self._ask(deal, verb, place, back)
            if said == "ok":
                assert answer.status_code == 200, f"{verb} {place} {back}: {answer.text}"
            elif said == "InvalidField":
                assert answer.status_code == 400, answer.text
                assert answer.json()["validationErrors"], answer.text
            else:
                assert answer.status_code == 400, f"{said}: {answer.text}"
                assert answer.json()["message"] == MESSAGES[said], said

    async def _pay(self, deal: Deal, bargain: Bargain) -> None:
        """Who has ended meanwhile is paid only by a bank that was at work already."""
        live = bargain.agreement in ("pending", "accepted")
        if bargain.funded or not (live or bargain.tranches[0] == "awaiting_payment"):
            return
        await deal.pay()
        bargain.pay()
        self.seen["late money"] += not live

    async def _ask(self, deal: Deal, verb: str, place: int | None, back: int | None) -> Any:
        match verb:
            case "release":
                return await deal.release(place)
            case "refund":
                if back is None:
                    return await deal.refund(milestone=place)
                amount = float(Decimal(back) / 100)
                return await deal.refund("PARTIAL", milestone=place, amount=amount)
            case "dispute" | "cancel":
                return await deal.act(verb, {"by": "buyer"})
        return await deal.act(verb.replace(" ", "-"))

    async def _look(self, deal: Deal, bargain: Bargain) -> None:
        shown = await deal.shown()
        settlement = shown["settlement"]
        told = {
            "status": shown["status"],
            "funded": halalas(settlement["funded"]),
            "held": halalas(settlement["held"]),
            "buyer": halalas(settlement["refundedToBuyer"]),
            "seller": halalas(settlement["releasedToSeller"]),
            "fees and taxes": halalas(settlement["fees"]) + halalas(settlement["taxes"]),
        }
        assert told == bargain.shown()
        self.seen[bargain.status] += 1


def halalas(major: float) -> int:
    return round(major * 100)


@pytest.fixture
def house(database: TestDatabase) -> Iterator[House]:
    opened = House(database)
    yield opened
    opened.close()


@pytest.mark.timeout(3_600)
def test_it_does_what_the_model_says_whatever_they_do(house: House) -> None:
    table = Table(house)

    @settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
    @example([True, True, False], STORY)
    @example([False, True, False], SECOND)
    @given(shapes, schedules)
    def run(shape: list[bool], schedule: list[Any]) -> None:
        table.play(shape, schedule)

    run()
    assert set(PLACES) <= set(+table.seen), set(PLACES) - set(+table.seen)


# -- canaries: every one of these defects must be found ----------------------------------------


def still_in_dispute(contract: Contract, refund: Refund) -> Contract:
    """What a refund did to a dispute before it could be declined."""
    indexes = [part.tranche for part in refund.parts]
    tranches = contract.with_tranches(indexes, Money.REFUND_PENDING)
    return msgspec.structs.replace(contract, tranches=tranches, dispute=Dispute.RESOLVED)


CANARIES = {
    "a partial refund that keeps nothing": (returning, "share_bps", lambda *_: 0),
    "a release that asks nobody": (partner, "require", lambda *_: None),
    "a refund that ends a dispute before it is paid": (returning, "_waiting", still_in_dispute),
    "fees that are refunded as well": (
        returning,
        "_full",
        lambda priced, index: Part(index, priced.charge_minor, 0, ()),
    ),
}


@pytest.mark.parametrize("defect", CANARIES)
def test_it_finds(house: House, monkeypatch: pytest.MonkeyPatch, defect: str) -> None:
    table = Table(house)
    monkeypatch.setattr(*CANARIES[defect])

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.explicit, Phase.generate],
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @example([True, True, False], STORY)
    @given(shapes, schedules)
    def run(shape: list[bool], schedule: list[Any]) -> None:
        table.play(shape, schedule)

    with pytest.raises(AssertionError):
        run()
