"""**Deliveries** of events to partners: which there are, when each is tried, when it is given up.

    pending -> succeeded    the receiver answered 2xx within 30 s
            -> failed       exhausted, refused, disabled or deleted: see Verdict

A delivery has a series of up to ATTEMPTS_MAX attempts; a replay begins another series (partner
spec 6.4, decisions E17 and E20).
"""

from enum import StrEnum

import msgspec

PUBLIC_EVENTS = (
    "contract.created",
    "contract.approved",
    "contract.rejected",
    "contract.cancelled",
    "payment.completed",
    "contract.delivered",
    "contract.received",
    "contract.released",
    "contract.disputed",
    "contract.refunded",
    "contract.completed",
    "refund.full-initiated",
    "refund.full-succeeded",
    "refund.partial-initiated",
    "refund.partial-succeeded",
)
"""What partners hear of; the commit asks the database's `is_public_event`, which says the same."""

TEST_EVENT = "webhook.test"
STATES = ("pending", "succeeded", "failed")

RETRY_SECONDS = (10, 30, 120, 600, 3600)
ATTEMPTS_MAX = len(RETRY_SECONDS) + 1
RETRY_AFTER_SECONDS_MAX = 3600
RETRYABLE = frozenset({408, 429, 500, 502, 503, 504})
GONE = 410

FAILURES_MAX = 10
"""So many deliveries in a row that ended in failure disable their endpoint (E20)."""
DISABLED_DAYS = 7
"""For so long pending deliveries wait for a disabled endpoint."""


class Verdict(StrEnum):
    """What becomes of a delivery after an attempt. GONE is REFUSED and disables the endpoint."""

    SUCCEEDED = "succeeded"
    RETRY = "retry"
    EXHAUSTED = "exhausted"
    REFUSED = "refused"
    GONE = "gone"


class Judged(msgspec.Struct, frozen=True):
    """`delay_seconds` until the next attempt, in business time; 0 unless it is a RETRY."""

    verdict: Verdict
    delay_seconds: int = 0


def judge(status: int | None, number: int, retry_after_seconds: int | None = None) -> Judged:
    """What becomes of a delivery whose attempt `number` (from 1) was answered `status`; None:
    it was not answered at all.

    A receiver may ask for more time than the schedule gives, an hour at most, never for less.

    >>> judge(503, 1).delay_seconds, judge(503, 1, 60).delay_seconds, judge(503, 6).delay_seconds
    (10, 60, 0)
    """
    if status is not None and 200 <= status < 300:
        return Judged(Verdict.SUCCEEDED)
    if status == GONE:
        return Judged(Verdict.GONE)
    if status is not None and status not in RETRYABLE:
        return Judged(Verdict.REFUSED)
    if number >= ATTEMPTS_MAX:
        return Judged(Verdict.EXHAUSTED)
    asked = min(retry_after_seconds or 0, RETRY_AFTER_SECONDS_MAX)
    return Judged(Verdict.RETRY, max(RETRY_SECONDS[number - 1], asked))
