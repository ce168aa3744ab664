"""Every state that a partner's contract can come to, found by trying everything.

Breadth first from a new contract of one tranche and one of two; whatever is accepted leads to the
next state. Nothing here knows the rules.
"""

from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from earnest.domain.business import Business
from earnest.domain.contract import Money
from earnest.domain.refund import RefundState
from till import VERBS, Till, a_business

SLOW = a_business(refund_approval="admin")
"""Its refunds wait for Olga, so that they may also be declined."""


def wait_for_bank(till: Till) -> str:
    """A slow bank is at work, or was in vain: what `earnest.domain.capture` does with tranches."""
    waiting = till.contract.tranches[0] is Money.AWAITING_PAYMENT
    if not till.contract.live or till.contract.funded:
        return "ignored"
    state = Money.UNFUNDED if waiting else Money.AWAITING_PAYMENT
    tranches = (state,) * len(till.contract.tranches)
    till.contract = msgspec.structs.replace(till.contract, tranches=tranches)
    return "ok"


def _act(verb: str) -> Callable[[Till], str]:
    return lambda till: till.act(verb)


def _refund(milestone: int | None, amount: int | None) -> Callable[[Till], str]:
    return lambda till: till.act("refund", milestone=milestone, amount=amount)


def _release(milestone: int | None) -> Callable[[Till], str]:
    return lambda till: till.act("release", milestone=milestone)


def _rule(word: str) -> Callable[[Till], str]:
    def rule(till: Till) -> str:
        till.rule(word)
        if word == "approve":
            till.settle()
        return "ok"

    return rule


def attempts(till: Till) -> Iterator[Callable[[Till], str]]:
    """Everything that may be tried with it."""
    yield from (_act(verb) for verb in VERBS if verb not in ("release", "refund"))
    yield from (Till.fund, wait_for_bank, _rule("approve"), _rule("decline"))
    places: tuple[int | None, ...] = (None,)
    if len(till.contract.tranches) > 1:
        places = (None, *range(len(till.contract.tranches)))
    for place in places:
        yield _release(place)
        yield _refund(place, None)
        yield _refund(place, 100)


State = tuple[object, ...]


def state(till: Till) -> State:
    """What the rules may look at, and what may still come of its refunds."""
    contract = till.contract
    waiting = tuple(
        sorted(
            (refund.kind, tuple(part.tranche for part in refund.parts))
            for refund in till.in_state(RefundState.REQUESTED)
        )
    )
    on_the_way = len(till.in_state(RefundState.PLANNED))
    return (
        contract.agreement,
        contract.work,
        contract.tranches,
        contract.dispute,
        waiting,
        on_the_way,
    )


def explore(business: Business, bases_minor: list[int]) -> list[Till]:
    """One till for each state."""
    found: dict[State, Till] = {}
    ahead = deque([Till.open(business, bases_minor)])
    while ahead:
        till = ahead.popleft()
        if state(till) in found:
            continue
        found[state(till)] = till
        for attempt in attempts(till):
            tried = till.copy()
            attempt(tried)
            if state(tried) not in found:
                ahead.append(tried)
    return list(found.values())


PLAIN = explore(SLOW, [1_000])
PARTS = explore(SLOW, [600, 400])
REACHABLE = [*PLAIN, *PARTS]
