"""One way after another to break the books, for the proof that `earnest verify` can fail."""

from damage.accounts import ACCOUNTS
from damage.finds import RELEASED, STARTED, Damage, deal
from damage.ledger import LEDGER
from damage.lines import LINES
from damage.partners import PARTNERS
from damage.payments import HISTORIES_AND_PAYMENTS
from damage.payouts import CHARGEBACKS, PAYOUTS
from damage.refunds import REFUNDS
from damage.trail import TRAIL
from damage.webhooks import WEBHOOKS

DAMAGES = (
    *LEDGER,
    *HISTORIES_AND_PAYMENTS,
    *TRAIL,
    *ACCOUNTS,
    *PARTNERS,
    *REFUNDS,
    *PAYOUTS,
    *CHARGEBACKS,
    *WEBHOOKS,
    *LINES,
)

__all__ = ["DAMAGES", "RELEASED", "STARTED", "Damage", "deal"]
