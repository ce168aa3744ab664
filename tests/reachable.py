"""Every state that a marketplace contract can come to, found by trying everything on everyone.

Breadth first from a new contract: each of the cast tries each verb, now and fifteen days on;
what is accepted leads to the next state. Nothing here knows the rules.
"""

from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import msgspec

from earnest.domain import hiring, verbs
from earnest.domain.business import MARKETPLACE, Business, Settings
from earnest.domain.change import Change
from earnest.domain.contract import Contract
from earnest.domain.party import SYSTEM, Actor, Role
from earnest.domain.payment import Payment, PaymentState
from earnest.domain.projection import MARKETPLACE_STATUSES, marketplace_status
from earnest.errors import EarnestError
from earnest.ids import Ids, PublicId

ALICE = Actor(Role.CLIENT, 1)
BOB = Actor(Role.FREELANCER, 2)
MALLORY = Actor(Role.CLIENT, 3)
MALLET = Actor(Role.FREELANCER, 4)
OLGA = Actor(Role.ADMIN, 5)
PARTNER = Actor(Role.PARTNER, 6)
CAST = (ALICE, BOB, MALLORY, MALLET, OLGA, PARTNER, SYSTEM)

NOW = datetime(2026, 5, 1, 9, tzinfo=UTC)
SHOP = Business(MARKETPLACE, "Marketplace", "INR", Settings())
AMOUNT_MINOR = 1_200_000
FORTNIGHT = timedelta(days=15)


class Drawn:
    """Counts what was drawn: a refusal must draw nothing."""

    def __init__(self) -> None:
        self._next = count(1)
        self.keys = 0
        self.ids = Ids(self._draw, self._draw, self._draw, self._draw, lambda: 0)

    def _draw(self) -> int:
        self.keys += 1
        return next(self._next)


Attempt = Callable[[Contract, Actor, datetime, Ids], Change]


def pay(contract: Contract, actor: Actor, now: datetime, ids: Ids) -> Change:
    """Its money arrives."""
    payment = Payment(
        key=99,
        public_id=PublicId("0" * 24),
        business=MARKETPLACE,
        job=contract.job,
        buyer=contract.buyer,
        seller=contract.seller,
        provider_account=1,
        amount_minor=contract.charge_minor,
        currency=contract.currency,
        metadata={},
        created_at=now,
        version=2,
        commit_id=1,
        updated_at=now,
        state=PaymentState.OPEN,
        session_id="cs_test",
    )
    return hiring.fund(contract, payment, actor, now, ids)


def _status(wanted: str) -> Attempt:
    def attempt(contract: Contract, actor: Actor, now: datetime, ids: Ids) -> Change:
        shown = marketplace_status(contract)
        return verbs.update_status(contract, SHOP, actor, now, ids, shown=shown, wanted=wanted)

    return attempt


ATTEMPTS: dict[str, Attempt] = {
    "approve": lambda c, actor, now, ids: verbs.approve(c, SHOP, actor, now, ids),
    "claim": verbs.claim,
    "work on": verbs.work_on,
    "complete": verbs.complete,
    "cancel": verbs.cancel,
    "fund": pay,
    "request release": verbs.request_release,
    "approve release": lambda c, actor, now, ids: verbs.approve_release(c, SHOP, actor, now, ids),
    "request refund": lambda c, actor, now, ids: verbs.request_refund(
        c, actor, now, ids, reason="late", description="very"
    ),
    "approve refund": verbs.approve_refund,
    **{f"update status to {wanted}": _status(wanted) for wanted in MARKETPLACE_STATUSES},
}


def beginnings() -> Iterator[Contract]:
    """A contract that a client created, and one that a payment did."""
    for paid_first in (False, True):
        drawn = Drawn()
        contract = verbs.new_contract(
            SHOP,
            buyer=ALICE.key,
            seller=BOB.key,
            job=7,
            title="Logo",
            amount_minor=AMOUNT_MINOR,
            now=NOW,
            ids=drawn.ids,
            unclaimed=paid_first,
        )
        if paid_first:
            funded = pay(contract, SYSTEM, NOW, drawn.ids).contract
            assert funded is not None
            contract = funded
        yield contract


State = tuple[str, str, str, str]
"""agreement, work, money, and whether its client still has to ask for it."""


def state(contract: Contract) -> State:
    waits = "unclaimed" if contract.unclaimed and contract.live else ""
    return contract.agreement, contract.work, contract.money, waits


def _same(contract: Contract) -> tuple[object, ...]:
    """What the rules may look at besides the state itself."""
    return *state(contract), contract.dispute, contract.refund_requested_at is None


def explore() -> list[Contract]:
    """One contract for every reachable state, as young as it can be in it."""
    found: dict[tuple[object, ...], Contract] = {}
    waiting = deque(beginnings())
    while waiting:
        contract = waiting.popleft()
        if _same(contract) in found:
            continue
        found[_same(contract)] = contract
        for attempt in ATTEMPTS.values():
            for actor in CAST:
                for now in (NOW, NOW + FORTNIGHT):
                    try:
                        change = attempt(contract, actor, now, Drawn().ids)
                    except EarnestError:
                        continue
                    assert change.contract is not None
                    # Young again: a fortnight passes only where a test lets it pass.
                    waiting.append(_young(change.contract))
    return list(found.values())


def _young(contract: Contract) -> Contract:
    completed_at = NOW if contract.completed_at else None
    return msgspec.structs.replace(contract, updated_at=NOW, completed_at=completed_at)


REACHABLE = explore()
