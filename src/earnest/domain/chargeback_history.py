"""The steps that a chargeback makes in a contract's history, of either face: see
`earnest.domain.history`. All are the system's; money that covers a loss was held until then."""

from collections.abc import Iterable

import msgspec

from earnest.domain.audit import Event
from earnest.domain.contract import HOLDING, Agreement, Contract, Dispute, Money, Work
from earnest.domain.partner_history import Step


class _Body(msgspec.Struct):
    chargeback: str | None = None
    tranches: tuple[int, ...] = ()
    undecided: bool = False


_decoder = msgspec.json.Decoder(_Body)


def charged_back(state: Contract, event: Event) -> Step | None:
    """What `event` did to `state` if it is one of a chargeback, else None."""
    if event.type not in ("contract.disputed", "contract.charged_back", "chargeback.closed"):
        return None
    body = _decoder.decode(event.body)
    if body.chargeback is None:
        return None
    everything = tuple(range(len(state.tranches)))
    match event.type:
        case "contract.disputed":
            return Step({"charged_back": True}, None, state.holding(*HOLDING))
        case "chargeback.closed":
            return Step({"charged_back": False}, None, everything)
    after = state.with_tranches(body.tranches, Money.REFUNDED)
    effect: dict[str, object] = {"tranches": after, "charged_back": body.undecided}
    if state.live and state.work is not Work.COMPLETED:
        effect["agreement"] = Agreement.TERMINATED
    if {Money.RELEASED, Money.REFUNDED, Money.SPLIT}.issuperset(after):
        effect["settled_at"] = event.recorded_at
        if state.dispute is Dispute.OPEN:
            effect["dispute"] = Dispute.RESOLVED
    return Step(effect, None, body.tranches, states=HOLDING)


def covering(events: Iterable[Event]) -> frozenset[int]:
    """The tranches whose money covers a loss."""
    found: set[int] = set()
    for event in events:
        if event.type == "contract.charged_back":
            found.update(_decoder.decode(event.body).tranches)
    return frozenset(found)
