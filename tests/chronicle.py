"""A contract with its events, as values that a test may forge: for tests of its history."""

from typing import Any

import msgspec

from earnest.domain.audit import Event, genesis, link
from earnest.domain.contract import Contract
from earnest.domain.history import Finding, check_chain, replay


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
