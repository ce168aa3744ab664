"""A payment provider that fails at the calls that a test names.

    provider = hesitant(app, "create_transfer", ProviderUnknown("Nobody answered."), deaf=True)

The first call of that name raises the first of these errors, and so on; with `deaf` the provider
does what it was asked first. Everything else is as the provider behind does it. `asked` are the
names and idempotency keys of all calls that make something.
"""

from typing import Any

import msgspec
from litestar import Litestar

MAKING = ("create_transfer", "create_payout", "return_transfer", "create_account")


class Killed(Exception):
    """The process is gone: nothing of ours hears of what became of the call."""


class Hesitant:
    def __init__(self, behind: Any, call: str, errors: list[Exception], *, deaf: bool) -> None:
        self.behind, self.call, self.errors, self.deaf = behind, call, errors, deaf
        self.asked: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.behind, name)
        if name not in MAKING and name != self.call:
            return real

        async def call(request: Any, *arguments: Any, **named: Any) -> Any:
            key = getattr(request, "idempotency_key", getattr(request, "reference", ""))
            self.asked.append((name, key))
            if name != self.call or not self.errors:
                return await real(request, *arguments, **named)
            if self.deaf:
                await real(request, *arguments, **named)
            raise self.errors.pop(0)

        return call


def hesitant(app: Litestar, call: str, *errors: Exception, deaf: bool = False) -> Hesitant:
    """Put the application's provider behind these errors."""
    core = app.state.core
    behind = core.provider.behind if isinstance(core.provider, Hesitant) else core.provider
    provider = Hesitant(behind, call, list(errors), deaf=deaf)
    app.state.core = msgspec.structs.replace(core, provider=provider)
    return provider
