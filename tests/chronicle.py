"""A contract with its events, as values that a test may forge: for tests of its history."""

from datetime import timedelta
from typing import Any

import msgspec

from earnest.domain import hiring, verbs
from earnest.domain.audit import Event, genesis, link
from earnest.domain.contract import Contract
from earnest.domain.history import Finding, check_chain, replay
from earnest.domain.party import SYSTEM, Actor
from hired import hire
from reachable import ALICE, ATTEMPTS, BOB, NOW, OLGA, SHOP, Drawn, pay

Steps = tuple[tuple[str, Actor], ...]
CREATED: Steps = ()
PAID: Steps = (("fund", SYSTEM),)
ONGOING: Steps = (*PAID, ("approve", BOB), ("work on", BOB))
DONE: Steps = (*ONGOING, ("complete", BOB))
RELEASED: Steps = (*DONE, ("request release", ALICE), ("approve release", OLGA))
CANCELLED: Steps = (*PAID, ("approve", BOB), ("cancel", BOB))


class Story(msgspec.Struct):
    """A contract and all that its events tell."""

    contract: Contract
    events: list[Event]

    def changed(self, **changes: Any) -> "Story":
        return Story(msgspec.structs.replace(self.contract, **changes), self.events)

    def with_event(self, index: int, **changes: Any) -> "Story":
        """The same, an event of it changed and nothing else."""
        events = list(self.events)
        events[index] = msgspec.structs.replace(events[index], **changes)
        return Story(self.contract, events)

    def without(self, *types: str) -> "Story":
        return Story(self.contract, [event for event in self.events if event.type not in types])

    def forged(self) -> "Story":
        """Chained anew, as a forger would who knows how."""
        head, events = genesis(self.contract.public_id), []
        for seq, event in enumerate(self.events, start=1):
            head = link(head, seq, event.recorded_at, event.type, event.actor, event.body)
            events.append(msgspec.structs.replace(event, seq=seq, hash=head))
        contract = msgspec.structs.replace(
            self.contract,
            event_seq=len(events),
            event_head=head,
            version=len({event.commit_id for event in events}),
        )
        return Story(contract, events)

    @property
    def chain(self) -> Finding | None:
        return check_chain(self.contract, self.events)

    @property
    def steps(self) -> Finding | None:
        return replay(self.contract, self.events)


def story(*steps: tuple[str, Actor], paid_first: bool = False) -> Story:
    """Alice hires Bob; these steps follow, twenty days apart."""
    drawn = Drawn()
    if paid_first:
        contract = verbs.new_contract(
            SHOP,
            buyer=ALICE.key,
            seller=BOB.key,
            job=7,
            title="Logo",
            amount_minor=1_200_000,
            now=NOW,
            ids=drawn.ids,
            unclaimed=True,
        )
        change = pay(contract, SYSTEM, NOW, drawn.ids)
    else:
        change = hiring.create_contract(hire(), SHOP, ALICE, NOW, drawn.ids, 1_200_000)
    assert change.contract is not None
    contract, events, now = change.contract, list(change.events), NOW
    for verb, actor in steps:
        now += timedelta(days=20)
        change = ATTEMPTS[verb](contract, actor, now, drawn.ids)
        assert change.contract is not None
        contract = change.contract
        events += change.events
    return Story(contract, events)
