"""One way after another to break the books, for the proof that `earnest verify` can fail."""

from damage.finds import RELEASED, STARTED, Damage
from damage.ledger import LEDGER
from damage.payments import HISTORIES_AND_PAYMENTS
from damage.trail import TRAIL
from damage.webhooks import WEBHOOKS

DAMAGES = (*LEDGER, *HISTORIES_AND_PAYMENTS, *TRAIL, *WEBHOOKS)

__all__ = ["DAMAGES", "RELEASED", "STARTED", "Damage"]
