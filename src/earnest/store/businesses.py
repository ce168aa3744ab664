"""Businesses and their settings."""

import asyncpg

from earnest.domain.business import MARKETPLACE, Business
from earnest.store.contracts import business_from

FIND = "SELECT id, name, currency, settings FROM business WHERE id = $1"


async def marketplace(conn: asyncpg.Connection) -> Business:
    """The built-in business with its present settings."""
    row = await conn.fetchrow(FIND, MARKETPLACE)
    assert row is not None
    found = business_from(row, 0)
    assert found is not None
    return found
