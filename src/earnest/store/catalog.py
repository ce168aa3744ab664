"""Categories and skills: two shelves of names, each unique without regard to case."""

import asyncpg
import msgspec

from earnest.domain.job import Label
from earnest.errors import Conflict, NotFound
from earnest.ids import PublicId, key_of
from earnest.store import keys


class Shelf(msgspec.Struct, frozen=True):
    """The statements of one table of labels, and what to call its rows."""

    noun: str
    insert: str
    every: str
    rename: str
    list_or_unlist: str
    find: str


CATEGORY = Shelf(
    noun="Category",
    insert="INSERT INTO category (id, public_id, name, created_at) VALUES ($1, $2, $3, $4)",
    every="SELECT id AS key, public_id, name, is_listed FROM category ORDER BY id",
    rename="""
    UPDATE category SET name = $3 WHERE id = $1 AND public_id = $2
    RETURNING id AS key, public_id, name, is_listed
    """,
    list_or_unlist="""
    UPDATE category SET is_listed = $3 WHERE id = $1 AND public_id = $2
    RETURNING id AS key, public_id, name, is_listed
    """,
    find="""
    SELECT id AS key, public_id, name, is_listed FROM category
    WHERE id = ANY($1::bigint []) AND public_id = ANY($2::text [])
    """,
)

SKILL = Shelf(
    noun="Skill",
    insert="INSERT INTO skill (id, public_id, name, created_at) VALUES ($1, $2, $3, $4)",
    every="SELECT id AS key, public_id, name, is_listed FROM skill ORDER BY id",
    rename="""
    UPDATE skill SET name = $3 WHERE id = $1 AND public_id = $2
    RETURNING id AS key, public_id, name, is_listed
    """,
    list_or_unlist="""
    UPDATE skill SET is_listed = $3 WHERE id = $1 AND public_id = $2
    RETURNING id AS key, public_id, name, is_listed
    """,
    find="""
    SELECT id AS key, public_id, name, is_listed FROM skill
    WHERE id = ANY($1::bigint []) AND public_id = ANY($2::text [])
    """,
)


async def add(conn: asyncpg.Connection, shelf: Shelf, name: str) -> Label:
    """A new label. Raises Conflict when there is one of that name."""
    fresh = await keys.draw(conn)
    try:
        await conn.execute(shelf.insert, fresh.key, fresh.public_id, name, fresh.at)
    except asyncpg.UniqueViolationError:
        raise Conflict(f"{shelf.noun} already exists") from None
    return Label(fresh.key, fresh.public_id, name)


async def every(conn: asyncpg.Connection, shelf: Shelf) -> list[Label]:
    """All labels, the oldest first, the unlisted ones too."""
    return [_label(row) for row in await conn.fetch(shelf.every)]


async def rename(conn: asyncpg.Connection, shelf: Shelf, label: PublicId, name: str) -> Label:
    """Raises NotFound, or Conflict when another label has that name."""
    try:
        row = await conn.fetchrow(shelf.rename, key_of(label), label, name)
    except asyncpg.UniqueViolationError:
        raise Conflict(f"{shelf.noun} already exists") from None
    return _found(row, shelf)


async def set_listed(
    conn: asyncpg.Connection, shelf: Shelf, label: PublicId, *, is_listed: bool
) -> Label:
    """Offer a label, or no longer. Raises NotFound."""
    row = await conn.fetchrow(shelf.list_or_unlist, key_of(label), label, is_listed)
    return _found(row, shelf)


async def find(
    conn: asyncpg.Connection, shelf: Shelf, labels: list[PublicId]
) -> dict[PublicId, Label]:
    """Those of `labels` that exist."""
    rows = await conn.fetch(shelf.find, [key_of(one) for one in labels], labels)
    return {PublicId(row["public_id"]): _label(row) for row in rows}


def _found(row: asyncpg.Record | None, shelf: Shelf) -> Label:
    if row is None:
        raise NotFound(f"{shelf.noun} not found")
    return _label(row)


def _label(row: asyncpg.Record) -> Label:
    return Label(row["key"], PublicId(row["public_id"]), row["name"], row["is_listed"])
