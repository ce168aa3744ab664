"""The marketplace's settings, changed as an operator would."""

import itertools
from typing import Any

import msgspec

from earnest.domain.business import MARKETPLACE, Settings
from earnest.store.db import Pool
from web import Cast

SET = "UPDATE business SET settings = $2, version = $3 WHERE id = $1"

# A process keeps what it decoded by version, so no two tests may use the same one.
_versions = itertools.count(2)


async def switch(cast: Cast, **settings: Any) -> None:
    """Set these switches of `earnest.domain.business.Settings`; all others at their default."""
    changed = msgspec.json.encode(msgspec.convert(settings, Settings)).decode()
    pool: Pool = cast.app.state.pool
    async with pool.connection() as conn:
        await conn.execute(SET, MARKETPLACE, changed, next(_versions))
