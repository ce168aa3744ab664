"""A payment provider that does not give money back as it should.

    provider = reluctant(app, ProviderPermanent("The card is gone."), PENDING)

The first call about a refund is answered with the first of these, and so on; after that it does
what the sandbox provider does. Errors are raised and nothing happens; `deaf` lets it happen first.
"""

import contextlib
from collections.abc import Iterator

import msgspec
from litestar import Litestar

from earnest.providers.base import (
    CheckoutRequest,
    CheckoutSession,
    CheckoutStatus,
    Provider,
    ProviderRefund,
    ProviderRefundState,
    RefundRequest,
)

Word = Exception | ProviderRefundState


class Reluctant(msgspec.Struct):
    """The sandbox provider behind `words`; `asked` are the keys of the refunds it was asked for."""

    behind: Provider
    words: list[Word]
    deaf: bool = False
    asked: list[str] = msgspec.field(default_factory=list)

    async def create_refund(self, request: RefundRequest) -> ProviderRefund:
        self.asked.append(request.idempotency_key)
        word = self.words.pop(0) if self.words else None
        if word is None:
            return await self.behind.create_refund(request)
        if isinstance(word, ProviderRefundState):
            return ProviderRefund("re_later", word, request.amount_minor, request.currency)
        if self.deaf:
            await self.behind.create_refund(request)
        raise word

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        return await self.behind.find_refund(request)

    def can_collect(self, amount_minor: int, currency: str) -> bool:
        return self.behind.can_collect(amount_minor, currency)

    async def create_checkout(self, request: CheckoutRequest) -> CheckoutSession:
        return await self.behind.create_checkout(request)

    async def find_checkout(self, session_id: str) -> CheckoutStatus | None:
        return await self.behind.find_checkout(session_id)

    async def expire_checkout(self, session_id: str) -> None:
        await self.behind.expire_checkout(session_id)

    async def close(self) -> None:
        await self.behind.close()


def reluctant(app: Litestar, *words: Word, deaf: bool = False) -> Reluctant:
    """Put the application's provider behind these words."""
    core = app.state.core
    behind = core.provider.behind if isinstance(core.provider, Reluctant) else core.provider
    provider = Reluctant(behind, list(words), deaf)
    app.state.core = msgspec.structs.replace(core, provider=provider)
    return provider


@contextlib.contextmanager
def reluctantly(app: Litestar, *words: Word) -> Iterator[Reluctant]:
    """The same for a while."""
    core = app.state.core
    yield reluctant(app, *words)
    app.state.core = core


class Returning(Reluctant):
    """A provider that says of all refunds that it knows of that they came back."""

    async def find_refund(self, request: RefundRequest) -> ProviderRefund | None:
        known = await self.behind.find_refund(request)
        if known is None:
            return None
        return msgspec.structs.replace(known, state=ProviderRefundState.FAILED)


@contextlib.contextmanager
def returning(app: Litestar) -> Iterator[Returning]:
    """For a while, refunds that were made come back."""
    core = app.state.core
    provider = Returning(core.provider, [])
    app.state.core = msgspec.structs.replace(core, provider=provider)
    yield provider
    app.state.core = core
