"""What a payer's bank does, in the history of a contract: true stories and lies, in values."""

from datetime import timedelta
from itertools import count
from typing import Any

import msgspec
import pytest

from chronicle import CANCELLED, DONE, ONGOING, PAID, Steps, Story, story
from disputed import disputed
from earnest.domain.audit import canonical
from earnest.domain.bearing import Dossier, Exposure
from earnest.domain.chargeback import ChargebackState
from earnest.domain.chargeback_history import charged_back, covering
from earnest.domain.charging_back import learn
from earnest.domain.contract import Dispute, Money
from earnest.domain.history import Finding
from earnest.ids import Ids
from hired import payment
from till import NOW, Till, a_business

LATER = NOW + timedelta(days=1)


def banked(*states: str, steps: Steps = ONGOING, **changes: Any) -> Story:
    """What a dispute at Alice's bank makes of a contract that came so far."""
    true = story(*steps)
    contract, now = true.contract, true.contract.updated_at
    for state in states:
        now += timedelta(days=1)
        taken = Dossier(ChargebackState(state), contract.charge_minor, "INR", "fraud", None, ())
        around = Exposure(payment(), contract, **changes)
        ids = Ids(*[count(1_000 + len(true.events) * 10).__next__] * 4)
        change = learn(disputed(), taken, around, now, now, ids)
        if change.contract is not None:
            contract = change.contract
            true.events += [event for event in change.events if event.contract == contract.key]
    return Story(contract, true.events)


BANKED: list[tuple[tuple[str, ...], Steps, dict[str, Any]]] = [
    (("open",), ONGOING, {}),
    (("open", "won"), ONGOING, {}),
    (("open", "lost"), ONGOING, {}),
    (("lost",), PAID, {}),
    (("open", "lost"), DONE, {}),
    (("open", "lost"), CANCELLED, {}),
    (("open", "lost"), ONGOING, {"others_open": True}),
]


@pytest.mark.parametrize(("states", "steps", "changes"), BANKED)
def test_a_true_story_of_a_chargeback_is_believed(
    states: tuple[str, ...], steps: Steps, changes: dict[str, Any]
) -> None:
    true = banked(*states, steps=steps, **changes)
    assert (true.chain, true.steps) == (None, None)
    assert covering(true.events) == (frozenset({0}) if "lost" in states else frozenset())


def test_a_chargeback_of_a_partners_contract_is_believed() -> None:
    till = Till.open(a_business(), (60_000, 40_000))
    till.fund()
    for state in ("open", "won"):
        taken = Dossier(
            ChargebackState(state), till.contract.charge_minor, "SAR", "fraud", None, ()
        )
        around = Exposure(till.payment, till.contract)
        change = learn(disputed(), taken, around, LATER, LATER, till.ids)
        assert change.contract is not None
        till.contract = change.contract
        till.events += [event for event in change.events if event.contract == till.contract.key]
        told = Story(till.contract, till.events)
        assert (told.chain, told.steps) == (None, None)
        assert till.contract.charged_back is (state == "open")


def test_a_loss_that_does_not_say_otherwise_is_decided() -> None:
    true = banked("lost")
    said = msgspec.json.decode(true.events[-1].body)
    del said["undecided"]
    told = charged_back(
        true.contract, msgspec.structs.replace(true.events[-1], body=canonical(said))
    )
    assert told is not None
    assert told.effect["charged_back"] is False


@pytest.mark.parametrize(
    ("states", "type_"),
    [
        (("open",), "contract.disputed"),
        (("open", "won"), "chargeback.closed"),
        (("lost",), "contract.charged_back"),
    ],
)
def test_only_the_system_takes_the_steps_of_a_chargeback(
    states: tuple[str, ...], type_: str
) -> None:
    true = banked(*states)
    assert true.events[-1].type == type_
    lie = true.with_event(-1, actor="admin:5").forged()
    expected, found = "a step that system may take here", f"{type_} by admin:5"
    assert lie.steps == Finding(10, lie.events[-1].key, expected, found)


def test_a_loss_is_covered_by_what_was_held() -> None:
    true = banked("lost")
    unpaid = true.without("payment.completed", "contract.work_updated").forged()
    assert unpaid.steps is not None
    assert unpaid.steps.expected == "tranche 0 held or refund_pending or release_requested"
    assert unpaid.steps.found == "unfunded"


def test_an_open_dispute_of_the_parties_is_resolved_by_a_loss() -> None:
    true = banked("lost")
    event = true.events[-1]
    open_ = msgspec.structs.replace(story(*ONGOING).contract, dispute=Dispute.OPEN)
    told = charged_back(open_, event)
    assert told is not None
    assert told.effect == {
        "tranches": ("refunded",),
        "charged_back": False,
        "agreement": "terminated",
        "settled_at": event.recorded_at,
        "dispute": "resolved",
    }
    quiet = charged_back(story(*ONGOING).contract, event)
    assert quiet is not None
    assert "dispute" not in quiet.effect


def test_a_loss_settles_nothing_while_another_tranche_is_held() -> None:
    event = banked("lost").events[-1]
    for other, settles in (
        (Money.HELD, False),
        (Money.RELEASED, True),
        (Money.REFUNDED, True),
        (Money.SPLIT, True),
        (Money.REFUND_PENDING, False),
        (Money.UNFUNDED, False),
    ):
        two = msgspec.structs.replace(
            story(*ONGOING).contract, tranches=(Money.HELD, other), dispute=Dispute.OPEN
        )
        told = charged_back(two, event)
        assert told is not None
        assert told.effect["tranches"] == ("refunded", other)
        assert ("settled_at" in told.effect) is settles


def test_events_without_a_chargeback_are_no_steps_of_one() -> None:
    contract = story(*ONGOING).contract
    for event in story(*ONGOING).events:
        assert charged_back(contract, event) is None
    by_a_party = msgspec.structs.replace(banked("open").events[-1], body='{"by":"buyer"}')
    assert charged_back(contract, by_a_party) is None
