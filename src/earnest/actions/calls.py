"""**Calls** to a provider that were planned in a commit: when to make them again, by which key.

Refunds and payouts share this. A call is made under a lease and by an idempotency key of ours; its
key is used again until the provider has *spent* it (`ProviderError.key_is_spent`). Invariant: a
further key is used only after a lookup, made since the last call, has found nothing.
"""

from datetime import timedelta

from earnest.errors import ProviderError, ProviderTransient, ProviderUnknown

LEASE_SECONDS = 60
AT_ONCE_MAX = 20
BACKOFF_SECONDS_FIRST = 20
BACKOFF_SECONDS_MAX = 600
ERROR_CHARACTERS_MAX = 300


def backoff(attempts: int) -> timedelta:
    """How long to wait after that many attempts, one or more: 20 seconds, 40, 80, ... 10 minutes.

    >>> [backoff(attempts).seconds for attempts in (1, 2, 5, 6, 10**9)]
    [20, 40, 320, 600, 600]
    """
    doublings = min(max(attempts, 1) - 1, 16)
    return timedelta(seconds=min(BACKOFF_SECONDS_FIRST * 2**doublings, BACKOFF_SECONDS_MAX))


def looks_up_first(error: ProviderError, *, was_planned: bool) -> bool:
    """Whether the next attempt has to find out what happened before it may ask again.

    A call that did nothing tells nothing of what one before it may have done (`was_planned`: there
    was none); and a further key is used only after a lookup.
    """
    nothing_happened = isinstance(error, ProviderTransient) and was_planned
    return error.key_is_spent or not nothing_happened


def wait_after(error: ProviderError, attempts: int) -> timedelta:
    """How long to wait after this failure, the last of so many attempts. One that is only repeated
    says nothing about how the provider is now."""
    is_repeated = error.key_is_spent and isinstance(error, ProviderUnknown)
    return backoff(1 if is_repeated else attempts)


def key_of_call(public_id: str, calls: int) -> str:
    """The idempotency key of the `calls`-th call, the first of which is 1.

    >>> key_of_call("65a1", 1), key_of_call("65a1", 2)
    ('65a1', '65a1.2')
    """
    return public_id if calls == 1 else f"{public_id}.{calls}"
