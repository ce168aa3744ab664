"""What a partner's contract costs, as its answers show it: lists of charge lines, each reconciled.

All of it follows from the contract's terms, which never change, so that what was rendered once is
remembered. Invariant: the lists of the milestones sum to the contract's, line by line.
"""

from decimal import Decimal
from typing import Annotated, Any

import msgspec

from earnest.domain.contract import Contract
from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.pricing import ORDER as LINE_TYPES
from earnest.domain.pricing import LineType, Payer
from earnest.ids import PublicId, uuid_of, uuids_of
from earnest.web.shapes import Major
from earnest.web.wire import encode

Uuid = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
NET = "netEscrowAmountToSeller"
NET_ORDER = 6
ORDER = {type_: number for number, type_ in enumerate(LINE_TYPES, start=1)}
_IDS_PER_LIST = 32


class LineShown(msgspec.Struct, rename="camel"):
    """One charge. `order` 6 is for information: what the seller gets of it all."""

    line_type: str
    role: str
    amount: Major
    description: None
    order: int
    id: Uuid


class Sheet(msgspec.Struct, frozen=True):
    """What the buyer pays for a contract or a milestone, and the lines that it is made of."""

    amount: int | Decimal
    lines: Any  # list[LineShown], as JSON already


class Charges(msgspec.Struct, frozen=True):
    """What follows from a contract's terms alone. `of` are those; `id` is the contract's."""

    of: tuple[object, ...]
    id: str
    whole: Sheet
    milestones: list[Sheet]


def charges(contract: Contract) -> Charges:
    """The charges of the whole contract and those of each milestone, which sum to them."""
    of = (contract.currency, contract.terms.tranches, len(contract.terms.milestones))
    known = _remembered.get(contract.public_id)
    if known is not None and known.of == of:
        return known
    whole, *parts = _sheets(contract)
    made = Charges(of, uuid_of(contract.public_id), whole, parts)
    if len(parts) <= _MILESTONES_REMEMBERED:
        _remembered[contract.public_id] = made
        if len(_remembered) > _CONTRACTS_REMEMBERED:
            del _remembered[next(iter(_remembered))]
    return made


# Terms never change, and whoever made a contract comes back to look at it: its charges are a third
# of what showing it costs. They take some 3 KB with two milestones, 5 KB at most. (A hash of the
# terms, for functools.lru_cache, costs as much as is saved here.)
_CONTRACTS_REMEMBERED, _MILESTONES_REMEMBERED = 4_096, 4
_remembered: dict[PublicId, Charges] = {}


def _sheets(contract: Contract) -> list[Sheet]:
    of = CURRENCIES[contract.currency]
    priced = contract.terms.tranches
    heads = [
        (LineType.CONTRACT_AMOUNT, Payer.BUYER, ORDER[LineType.CONTRACT_AMOUNT]),
        *((line.type, line.role, ORDER[line.type]) for line in priced[0].lines),
        (NET, Payer.SELLER, NET_ORDER),
    ]
    parts = [
        (
            one.charge_minor,
            one.base_minor,
            *(line.amount_minor for line in one.lines),
            one.net_minor,
        )
        for one in priced
    ]
    whole = tuple(sum(column) for column in zip(*parts, strict=True))
    made = []
    for at, (charge, *row) in enumerate([whole, *parts] if contract.terms.milestones else [whole]):
        first = at * _IDS_PER_LIST + 1
        ids = uuids_of(contract.public_id, range(first, first + len(row)))
        lines = [
            LineShown(type_, role, to_number(minor, of), None, order, id_)
            for (type_, role, order), minor, id_ in zip(heads, row, ids, strict=True)
        ]
        made.append(Sheet(to_number(charge, of), msgspec.Raw(encode(lines))))
    return made
