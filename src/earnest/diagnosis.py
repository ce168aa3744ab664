"""**Findings**, and what the facts about a database mean (see `earnest.doctor`).

A finding is an error (money, secrets or people are at risk, or nothing works), a warning (it will
hurt one day) or a note. Invariant: each names its fix.
"""

from collections.abc import Iterator
from typing import Literal

import msgspec

from earnest.settings import Settings
from earnest.store.checkup import Checkup, Roles, Server

POSTGRES = (15, 18)
SKEW_SECONDS_WARNING = 2
SKEW_SECONDS_ERROR = 30


class Finding(msgspec.Struct, frozen=True):
    """`name` is for machines and never changes; `what` and `fix` are for people."""

    severity: Literal["error", "warning", "note"]
    name: str
    what: str
    fix: str


def error(name: str, what: str, fix: str) -> Finding:
    return Finding("error", name, what, fix)


def warning(name: str, what: str, fix: str) -> Finding:
    return Finding("warning", name, what, fix)


def note(name: str, what: str, fix: str) -> Finding:
    return Finding("note", name, what, fix)


def of_server(server: Server) -> Iterator[Finding]:
    """Whether it keeps what it acknowledged, and compares texts as it did yesterday."""
    if server.durability_off:
        fixes = " ".join(f"ALTER SYSTEM SET {name} = 'on';" for name in server.durability_off)
        yield error(
            "durability",
            f"{', '.join(server.durability_off)} switched off: a crash forgets money that was"
            " acknowledged.",
            f"As a superuser: {fixes} SELECT pg_reload_conf(); and remove any ALTER ROLE or ALTER"
            " DATABASE that sets it.",
        )
    if not server.has_checksums:
        yield warning(
            "checksums",
            "Pages have no checksums: a disk that lies is not found out.",
            "Stop the server and run: pg_checksums --enable",
        )
    if server.is_standby or server.is_read_only:
        yield error(
            "read_only",
            "The database takes no writes: it is a standby, or default_transaction_read_only is"
            " on.",
            "Point EARNEST_DATABASE_URL to the primary.",
        )
    major = server.version // 10_000
    if not POSTGRES[0] <= major <= POSTGRES[1]:
        yield (error if major < POSTGRES[0] else warning)(
            "postgresql",
            f"PostgreSQL {major} is not one that this version was tested with.",
            f"Use PostgreSQL {POSTGRES[0]} to {POSTGRES[1]}.",
        )
    if server.encoding != "UTF8":
        yield error(
            "encoding",
            f"The database is encoded in {server.encoding}: not every name fits.",
            "Dump it, and restore into one made with ENCODING 'UTF8' TEMPLATE template0.",
        )
    if server.is_collation_outdated:
        yield error(
            "collation",
            f"The rules of collation {server.collation} changed since this database was made:"
            " its indexes may miss rows.",
            "REINDEX DATABASE; then ALTER DATABASE ... REFRESH COLLATION VERSION;",
        )
    if server.timezone not in {"UTC", "Etc/UTC", "GMT"}:
        yield note(
            "timezone",
            f"The database shows times in {server.timezone}; Earnest's own are in UTC.",
            "ALTER DATABASE ... SET TimeZone = 'UTC'; for those who look into it by hand.",
        )
    if server.is_in_clear:
        yield warning(
            "database_tls",
            "The connection to the database crosses a network without TLS.",
            "Add sslmode=verify-full to EARNEST_DATABASE_URL.",
        )


def of_roles(roles: Roles) -> Iterator[Finding]:
    """The processes' role must not be able to rewrite history."""
    role = roles.role
    if roles.is_superuser:
        yield error(
            "role_superuser",
            f"{role}, as which the processes run, is a superuser and may rewrite everything.",
            "Put a URL of earnest_app into EARNEST_DATABASE_URL.",
        )
        return
    if roles.is_powerful:
        yield warning(
            "role_powerful",
            f"{role} may make roles or databases, replicate, or pass by row security.",
            f"ALTER ROLE {role} NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS;",
        )
    if roles.owned:
        yield error(
            "role_owner",
            f"{role} owns {', '.join(roles.owned)}: an owner may do anything to a table.",
            f"REASSIGN OWNED BY {role} TO earnest_owner; (in this database, as a superuser)",
        )
    for owner in roles.may_become:
        yield warning(
            "role_member",
            f"{role} may become {owner}, who owns the tables.",
            f"REVOKE {owner} FROM {role}; and set EARNEST_MIGRATE_DATABASE_URL.",
        )
    if roles.may_rewrite:
        fixes = " ".join(
            f"REVOKE {right} ON {table} FROM {role};"
            for table, _, right in (one.partition(" ") for one in roles.may_rewrite)
        )
        yield error(
            "role_rewrites",
            f"{role} may rewrite tables that only grow: {', '.join(roles.may_rewrite)}.",
            fixes,
        )
    if roles.unguarded:
        fixes = " ".join(
            f"ALTER TABLE {table} ENABLE TRIGGER {table}_append_only;" for table in roles.unguarded
        )
        yield error(
            "append_only",
            f"Nothing keeps the owner from rewriting {', '.join(roles.unguarded)}.",
            f"{fixes} (a trigger that is gone: see migration 0001)",
        )
    if roles.may_create:
        yield warning(
            "role_creates",
            f"{role} may make tables and functions of its own in schema public.",
            f"REVOKE CREATE ON SCHEMA public FROM PUBLIC, {role};",
        )


def of_clock(checkup: Checkup, *, is_production: bool) -> Iterator[Finding]:
    """Tokens live by this machine's clock, contracts by the database's."""
    skew = checkup.skew_seconds
    if abs(skew) > SKEW_SECONDS_WARNING:
        yield (error if abs(skew) > SKEW_SECONDS_ERROR else warning)(
            "clock",
            f"This machine's clock is {abs(skew):.0f} s"
            f" {'ahead of' if skew > 0 else 'behind'} the database's.",
            "Let both follow the same time servers (systemd-timesyncd, chrony).",
        )
    if is_production and checkup.advanced_seconds:
        yield error(
            "business_clock",
            f"Business time is {checkup.advanced_seconds} s ahead: this database was a sandbox.",
            "Begin production with a fresh database.",
        )


def of_connections(server: Server, settings: Settings, workers: int) -> Iterator[Finding]:
    """Whether every process can fill its pool at once."""
    wanted = (workers + 1) * settings.pool_connections_max + 2
    limits = (server.connections_max, server.role_connections_max, server.database_connections_max)
    allowed = min(limit for limit in limits if limit >= 0)
    if wanted > allowed:
        yield error(
            "max_connections",
            f"{workers} API processes and the worker may want {wanted} connections with those of a"
            f" command; the database has {allowed} for them.",
            "Raise max_connections (or the CONNECTION LIMIT of role or database), or lower"
            " EARNEST_POOL_CONNECTIONS_MAX or --workers.",
        )


def of_alerts(open_by_kind: dict[str, int]) -> list[Finding]:
    """What an operator was told and has not seen to."""
    if not open_by_kind:
        return []
    told = ", ".join(f"{count} {kind}" for kind, count in open_by_kind.items())
    return [
        warning(
            "alerts",
            f"Alerts are open: {told}.",
            "GET /api/admin/alerts?open=true says of each what to do.",
        )
    ]
