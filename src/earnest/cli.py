"""The command line. A **command** reads the settings, opens the database and calls one thing.

Invariant: answers go to standard output (JSON with --json), all else to standard error; the exit
code is 0, or 1 with the reason.
"""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number

from earnest import __version__
from earnest.terminal import AsJson, Data, answer, bar_of, say, settings_of

app = App(name="earnest", help="A self-hosted escrow contracts server.", version=__version__)
db_app = App(name="db", help="The database: bring it up to date, look at it.")
admin_app = App(name="admin", help="Administrators, who approve releases and refunds.")
books_app = App(name="books", help="The ledger: trial balance and statements.")
app.command(db_app)
app.command(books_app)
app.command(admin_app)
app.command(
    "earnest.cli_business:business_app",
    name="business",
    help="Partners, who escrow their customers' money by API.",
)
app.command("earnest.cli_backup:backup", name="backup")
app.command("earnest.cli_backup:restore", name="restore")

Host = Annotated[str, Parameter(help="address to listen on; 0.0.0.0 is everywhere")]
# The operating system would take 65536 for 0, and 73536 for 8000, without a word.
Port = Annotated[
    int,
    Parameter(help="port to listen on; 0 takes a free one", validator=Number(gte=0, lte=65_535)),
]
Workers = Annotated[
    int | None,
    Parameter(
        help="API processes [default: the number of cores less one]",
        validator=Number(gte=1, lte=64),
    ),
]


# -- serving --------------------------------------------------------------------------------


@app.command
def serve(
    *,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    data: Data = None,
    workers: Workers = None,
) -> None:
    """Migrate, then serve the API and run the worker until SIGTERM or Ctrl-C."""
    from earnest import supervisor

    supervisor.serve(
        settings_of(data),
        host=host,
        port=port,
        workers=workers or supervisor.default_workers(),
        has_public_url="EARNEST_PUBLIC_URL" in os.environ,
    )


@app.command
def demo(*, host: Host = "127.0.0.1", port: Port = 8000, data: Data = None) -> None:
    """Serve a seeded story: who is who, where the money is, curl lines to paste.

    Its accounts have a known password, so it keeps to a data directory of its own
    [default: demo-data].
    """
    from earnest import demo as story

    story.run(settings_of(data or _demo_directory()), host=host, port=port)


@app.command
def worker(*, data: Data = None) -> None:
    """Run one more worker against the database, without an API."""
    from earnest import logs, working
    from earnest.database import opened
    from earnest.web.metrics import Metrics

    settings = settings_of(data)
    logs.start(settings.log_format, "worker")
    with opened(settings, say) as database:
        asyncio.run(working.run_worker(database.settings, Metrics()))


# -- the database ---------------------------------------------------------------------------


@db_app.command
def migrate(*, data: Data = None) -> None:
    """Apply the migrations that the database lacks."""
    from earnest.database import opened

    with opened(settings_of(data), say):
        print("The database is up to date.")


@db_app.command
def status(*, data: Data = None, as_json: AsJson = False) -> None:
    """Which migrations are applied, and which are pending (then the exit code is 1)."""
    from earnest.database import migration_status, opened

    with opened(settings_of(data), say, create=False, migrated=False) as database:
        found = asyncio.run(migration_status(database.settings))
    lines = [f"applied  {name}" for name in found["applied"]]
    lines += [f"pending  {name}" for name in found["pending"]]
    answer(found, as_json, lines)
    sys.exit(1 if found["pending"] else 0)


@db_app.command
def psql(
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True, help="after --, for psql")],
    data: Data = None,
) -> None:
    """Run psql as the owner of the database: earnest db psql -- -c 'SELECT 1'."""
    from earnest.database import opened
    from earnest.store import binaries

    with opened(settings_of(data), say, migrated=False) as database:
        settings = database.settings
        url = settings.migrate_database_url or settings.database_url
        done = subprocess.run([binaries.program("psql"), *arguments, url], check=False)
    sys.exit(done.returncode)


# -- people and books -----------------------------------------------------------------------


@admin_app.command
def create(
    *, email: str, password: str, name: str = "", data: Data = None, as_json: AsJson = False
) -> None:
    """Make an administrator account; the audit trail tells of it.

    Parameters
    ----------
    email
        the address to sign in with
    password
        the first password
    name
        as others see it [default: the part of the address before the @]
    """
    from earnest.actions.accounts import create_admin
    from earnest.database import opened, pooled

    with opened(settings_of(data), say) as database:
        made = asyncio.run(
            pooled(database.settings, lambda pool: create_admin(pool, email, password, name))
        )
    answer({"id": made, "email": email}, as_json, [f"{email} is an administrator now."])


@app.command
def verify(
    *,
    anchors: Path | None = None,
    anchor_key: tuple[str, ...] = (),
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Check every invariant of the books; exit 1 and name the first row that breaks one.

    Parameters
    ----------
    anchors
        a directory with a copy of the anchors [default: where the worker writes them]
    anchor_key
        a public key that they may be signed with, besides the one of EARNEST_SECRET_KEY; verify
        --json tells it
    """
    from earnest.anchors import key_as_text
    from earnest.database import opened
    from earnest.providers.events import amount_minor_of
    from earnest.store import verify as books
    from earnest.verifying import outside_of

    settings = settings_of(data)
    outside = outside_of(settings, anchors, anchor_key)
    with (
        opened(settings, say, create=False, migrated=False) as database,
        bar_of("verify") as bar,
    ):
        url = database.settings.database_url
        report = asyncio.run(
            books.verify(
                url,
                lambda at: bar(at.what, at.done, at.total),
                minor_of=amount_minor_of,
                outside=outside,
            )
        )
    keys = sorted(map(key_as_text, outside.anchors.keys))
    answer(report.as_json() | {"anchor_keys": keys}, as_json, report.lines())
    sys.exit(1 if report.violation else 0)


@app.command
def reconcile(
    *,
    date: str,
    bank: Path | None = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Compare a day's ledger with the payment provider's books; exit 1 if they differ.

    The provider's fees are booked meanwhile. The exit code is 2 if it could not be done. The worker
    does the same every night for the day before (docs/reconciliation.md).

    Parameters
    ----------
    date
        the day, in UTC: 2026-11-22
    bank
        a CSV file of what came into your own bank from the provider: date, amount, currency,
        reference
    """
    from earnest import reconciling
    from earnest.database import opened
    from earnest.domain.bank_file import parse_day
    from earnest.domain.reconciliation import Unexplained
    from earnest.errors import EarnestError
    from earnest.settings import with_secret_key

    try:
        day = parse_day(date, "date")
        rows = reconciling.rows_of(bank) if bank is not None else None
        with opened(settings_of(data), say, create=False) as database, bar_of("reconcile") as bar:
            settings = with_secret_key(database.settings)
            found = asyncio.run(reconciling.reconciled(settings, day, rows, bar))
    except (EarnestError, Unexplained) as error:
        say(str(error))
        sys.exit(2)
    answer(found, as_json, reconciling.lines_of(found))
    sys.exit(0 if found["clean"] else 1)


@app.command
def doctor(*, data: Data = None, workers: Workers = None, as_json: AsJson = False) -> None:
    """Look for what is wrong with this installation, and say how to mend it; exit 1 on errors.

    Parameters
    ----------
    workers
        API processes that serve is to run [default: the number of cores less one]
    """
    from earnest import doctor as surgery
    from earnest.diagnosis import error
    from earnest.settings import BadSetting
    from earnest.supervisor import default_workers

    try:
        findings = surgery.examine(settings_of(data), workers or default_workers(), say)
    except BadSetting as bad:
        findings = [error("settings", str(bad), f"Change or unset {bad.variable}.")]
    answer(
        {"findings": [msgspec.to_builtins(one) for one in findings]},
        as_json,
        surgery.lines(findings),
    )
    sys.exit(1 if any(one.severity == "error" for one in findings) else 0)


@books_app.command
def trial_balance(
    *,
    at: datetime | None = None,
    every_account: Annotated[bool, Parameter(negative=())] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Debits, credits and balances of the ledger; debits equal credits in each currency.

    Parameters
    ----------
    at
        as recorded up to this instant, ISO 8601 [default: now]
    every_account
        each contract's and each person's account on a line of its own
    """
    from earnest import reports
    from earnest.database import opened, pooled

    at = at.replace(tzinfo=at.tzinfo or UTC) if at is not None else None
    with opened(settings_of(data), say, create=False, migrated=False) as database:
        found = asyncio.run(
            pooled(
                database.settings,
                lambda pool: reports.trial_balance(pool, at, every_account=every_account),
            )
        )
    answer(found, as_json, reports.trial_balance_lines(found))


@books_app.command
def statement(
    account: str, *, currency: str = "INR", data: Data = None, as_json: AsJson = False
) -> None:
    """The entries of one account, newest first.

    Parameters
    ----------
    account
        its name: wallet:INR:77, platform_fee_income:INR:1, held:1234:0
    currency
        of a held account, whose name does not say it
    """
    from earnest import reports
    from earnest.database import opened, pooled

    with opened(settings_of(data), say, create=False, migrated=False) as database:
        found = asyncio.run(
            pooled(database.settings, lambda pool: reports.statement(pool, account, currency))
        )
    answer(found, as_json, reports.statement_lines(found))


@app.command
def docs() -> None:
    """Regenerate what is generated: schema.sql, docs, the API's examples (in a checkout)."""
    from earnest import generated

    for path in generated.write_all(say):
        print(path)


# -- common ground --------------------------------------------------------------------------


def _demo_directory() -> Path:
    """demo-data, unless we are root in a place that PostgreSQL's own user cannot get to."""
    here = Path("demo-data").absolute()
    closed = any(not parent.stat().st_mode & 0o001 for parent in here.parents)
    return Path("/var/lib/earnest/demo-data") if closed and os.geteuid() == 0 else here
