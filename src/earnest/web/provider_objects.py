"""What the payment provider has of a contract's money, as both faces' proofs name it."""

from typing import Annotated

import msgspec

from earnest.domain.chargeback import ChargebackState
from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.payment import PaymentState
from earnest.domain.refund import RefundState
from earnest.store.provider_objects import ProviderObject as Found
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Major, one_of

_STATES = sorted({*PaymentState, *RefundState, *ChargebackState})


class ProviderAccount(msgspec.Struct):
    """At which provider; `livemode` is false for its test mode, where no money moves."""

    provider: str
    livemode: bool


class ProviderObject(msgspec.Struct):
    """`id` is the provider's. `status` is where we have it; `amount`, in major units, is null until
    the provider was asked. `at`: when it was begun; of a payment when the money came."""

    type: Annotated[str, one_of("checkout_session", "payment", "refund", "chargeback")]
    id: str
    account: ProviderAccount
    amount: Major | None
    currency: str
    status: Annotated[str, one_of(*_STATES)]
    at: Instant


def provider_object(found: Found) -> ProviderObject:
    """One of them, as everybody sees it who may see the proof."""
    minor = found.amount_minor
    return ProviderObject(
        type=found.type,
        id=found.id,
        account=ProviderAccount(found.provider, found.livemode),
        amount=None if minor is None else to_number(minor, CURRENCIES[found.currency]),
        currency=found.currency,
        status=found.state,
        at=instant(found.at),
    )
