"""A **checkup** of the database: facts about its server, its roles and its settings.

Facts only: what they mean for whoever operates this is for `earnest.doctor` to say. All are read
over one bare connection of the application's role, which sees what the processes would get;
except that those turn synchronous_commit on for themselves.
"""

import time

import asyncpg
import msgspec

APPEND_ONLY = ("transfer", "event", "provider_event", "contract_terms")
"""Tables whose rows nobody changes: no grant allows it, and triggers stop the owner, too."""

SERVER = """
SELECT
    current_setting('server_version_num')::integer AS version,
    ARRAY(
        SELECT s.name FROM pg_catalog.pg_settings AS s
        WHERE s.name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND s.setting = 'off'
        ORDER BY s.name
    ) AS durability_off,
    current_setting('data_checksums') = 'on' AS has_checksums,
    pg_catalog.pg_is_in_recovery() AS is_standby,
    current_setting('transaction_read_only') = 'on' AS is_read_only,
    current_setting('server_encoding') AS encoding,
    d.datcollate AS collation,
    d.datcollversion IS DISTINCT FROM pg_catalog.pg_database_collation_actual_version(d.oid)
    AND d.datcollversion IS NOT NULL AS is_collation_outdated,
    current_setting('TimeZone') AS timezone,
    current_setting('max_connections')::integer
    - current_setting('superuser_reserved_connections')::integer
    - coalesce(nullif(current_setting('reserved_connections', TRUE), '')::integer, 0)
        AS connections_max,
    r.rolconnlimit AS role_connections_max,
    d.datconnlimit AS database_connections_max,
    coalesce((
        SELECT NOT c.ssl FROM pg_catalog.pg_stat_ssl AS c WHERE c.pid = pg_backend_pid()
    ), TRUE)
    AND pg_catalog.inet_server_addr() IS NOT NULL
    AND NOT pg_catalog.inet_server_addr() <<= ANY(ARRAY['127.0.0.0/8', '::1']::inet[])
        AS is_in_clear
FROM pg_catalog.pg_database AS d, pg_catalog.pg_roles AS r
WHERE d.datname = current_database() AND r.rolname = current_user
"""

ROLES = """
SELECT
    current_user AS role,
    r.rolsuper AS is_superuser,
    r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls AS is_powerful,
    ARRAY(
        SELECT m.rolname FROM pg_catalog.pg_roles AS m
        WHERE m.rolname = 'earnest_owner' AND m.rolname <> current_user
        AND pg_catalog.pg_has_role(current_user, m.oid, 'MEMBER')
    ) AS may_become,
    ARRAY(
        SELECT c.oid::regclass::text FROM pg_catalog.pg_class AS c
        INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relowner = r.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
        AND n.nspname IN ('public', 'sandbox')
        ORDER BY 1
    ) AS owned,
    ARRAY(
        SELECT t.name || ' ' || p.name
        FROM
            unnest($1::text[]) AS t (name),
            unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) AS p (name)
        WHERE to_regclass(t.name) IS NOT NULL AND (
            pg_catalog.has_table_privilege(current_user, to_regclass(t.name), p.name)
            OR (
                p.name = 'UPDATE'
                AND pg_catalog.has_any_column_privilege(current_user, to_regclass(t.name), p.name)
            )
        )
        ORDER BY 1
    ) AS may_rewrite,
    ARRAY(
        SELECT t.name FROM unnest($1::text[]) AS t (name)
        WHERE to_regclass(t.name) IS NOT NULL AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_trigger AS g
            WHERE g.tgrelid = to_regclass(t.name) AND g.tgname = t.name || '_append_only'
            AND g.tgenabled <> 'D'
        )
        ORDER BY 1
    ) AS unguarded,
    pg_catalog.has_schema_privilege(current_user, 'public', 'CREATE') AS may_create
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = current_user
"""

HAS_CLOCK = "SELECT to_regclass('business_clock') IS NOT NULL"
ADVANCED = "SELECT advance_seconds FROM business_clock"
CLOCK = "SELECT extract(EPOCH FROM clock_timestamp())::float8"


class Server(msgspec.Struct, frozen=True):
    """The server and this database. Limits of connections: -1 is none."""

    version: int
    durability_off: list[str]
    has_checksums: bool
    is_standby: bool
    is_read_only: bool
    encoding: str
    collation: str
    is_collation_outdated: bool
    timezone: str
    connections_max: int
    role_connections_max: int
    database_connections_max: int
    is_in_clear: bool


class Roles(msgspec.Struct, frozen=True):
    """What the application's role may. `may_rewrite`: "transfer UPDATE"."""

    role: str
    is_superuser: bool
    is_powerful: bool
    may_become: list[str]
    owned: list[str]
    may_rewrite: list[str]
    unguarded: list[str]
    may_create: bool


class Checkup(msgspec.Struct, frozen=True):
    """All of it. `skew_seconds`: how far this machine's clock is ahead of the database's."""

    server: Server
    roles: Roles
    skew_seconds: float
    advanced_seconds: int


async def check_up(conn: asyncpg.Connection) -> Checkup:
    """Look at the database of a bare connection; changes nothing."""
    server = await conn.fetchrow(SERVER)
    roles = await conn.fetchrow(ROLES, list(APPEND_ONLY))
    asked_at = time.time()
    theirs: float = await conn.fetchval(CLOCK)
    ours = (asked_at + time.time()) / 2
    return Checkup(
        msgspec.convert(dict(server or {}), Server),
        msgspec.convert(dict(roles or {}), Roles),
        ours - theirs,
        await conn.fetchval(ADVANCED) if await conn.fetchval(HAS_CLOCK) else 0,
    )
