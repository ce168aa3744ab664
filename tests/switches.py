"""The marketplace's settings, changed as an operator would."""

from typing import Any, Protocol

import msgspec
from litestar import Litestar

from earnest.domain.business import MARKETPLACE, Settings
from earnest.store.db import Pool

SET = "UPDATE business SET settings = $2 WHERE id = $1"


class Running(Protocol):
    """The cast, or whatever else has the application."""

    @property
    def app(self) -> Litestar: ...


async def switch(running: Running, **settings: Any) -> None:
    """Set these switches of `earnest.domain.business.Settings`; all others at their default."""
    changed = msgspec.json.encode(msgspec.convert(settings, Settings)).decode()
    pool: Pool = running.app.state.pool
    async with pool.connection() as conn:
        await conn.execute(SET, MARKETPLACE, changed)
