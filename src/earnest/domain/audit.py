"""The audit trail: events, and the hash chain that binds those of one contract.

Each hash covers the previous one, the sequence number (gapless from 1), the time, the type,
the actor and the canonical body, every part with its length in front, so that no two different
histories share a hash (invariant 19). The head lives on the contract's row and so moves under
the same compare-and-swap as the contract itself.
"""

import functools
import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec

from earnest.ids import PublicId

_LABEL = b"earnest.contract.v1"
_canonical = msgspec.json.Encoder(order="sorted", decimal_format="number")


class Event(msgspec.Struct, frozen=True):
    """One line of the audit trail. `body` is canonical JSON; chain fields only for contracts."""

    key: int
    commit_id: int
    subject: str
    type: str
    actor: str
    recorded_at: datetime
    body: str
    contract: int | None = None
    seq: int | None = None
    hash: bytes | None = None


def canonical(body: dict[str, Any]) -> str:
    """The one JSON text of `body`: keys sorted, no spaces, UTF-8 unescaped."""
    return _canonical.encode(body).decode()


def genesis(contract: PublicId) -> bytes:
    """The hash before a contract's first event."""
    return _digest(_LABEL, contract.encode())


@functools.lru_cache(maxsize=1_024)
def moment(at: datetime) -> str:
    """The time of an event as its hash covers it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def link(previous: bytes, seq: int, at: datetime, type_: str, actor: str, body: str) -> bytes:
    """The hash of event number `seq` whose predecessor has hash `previous`."""
    said = (type_.encode(), actor.encode(), body.encode())
    return _digest(previous, b"%d" % seq, moment(at).encode(), *said)


def _digest(*parts: bytes) -> bytes:
    h = hashlib.sha256()
    for part in parts:
        h.update(len(part).to_bytes(8, "big"))
        h.update(part)
    return h.digest()
