"""Escrow by API: the client of an Earnest server's partner API, for threads and event loops.

    from earnest_client import EarnestClient, verify_webhook

What answers are made of is in `earnest_client.documents`.
"""

from earnest_client.calls import Call
from earnest_client.client import VERSION, AsyncEarnestClient, EarnestClient
from earnest_client.contracts import Kyc, NewMilestone, Person
from earnest_client.conversation import Retries
from earnest_client.documents import Contract, ContractMade, Metadata
from earnest_client.errors import (
    Conflict,
    EarnestError,
    FieldError,
    Forbidden,
    InvalidReturn,
    InvalidTrail,
    InvalidWebhook,
    KeyReused,
    NotAllowed,
    NotConnected,
    NotFound,
    RateLimited,
    Refused,
    ServerFailed,
    Unauthenticated,
    UnexpectedAnswer,
    Unfinished,
    ValidationFailed,
)
from earnest_client.signed import (
    CheckoutResult,
    ContractEvent,
    Event,
    verify_events,
    verify_return,
    verify_webhook,
)

__version__ = VERSION

__all__ = [
    "AsyncEarnestClient",
    "Call",
    "CheckoutResult",
    "Conflict",
    "Contract",
    "ContractEvent",
    "ContractMade",
    "EarnestClient",
    "EarnestError",
    "Event",
    "FieldError",
    "Forbidden",
    "InvalidReturn",
    "InvalidTrail",
    "InvalidWebhook",
    "KeyReused",
    "Kyc",
    "Metadata",
    "NewMilestone",
    "NotAllowed",
    "NotConnected",
    "NotFound",
    "Person",
    "RateLimited",
    "Refused",
    "Retries",
    "ServerFailed",
    "Unauthenticated",
    "UnexpectedAnswer",
    "Unfinished",
    "ValidationFailed",
    "__version__",
    "verify_events",
    "verify_return",
    "verify_webhook",
]
