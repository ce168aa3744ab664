"""What is generated from the code and kept in the repository, where people read it.

Invariant: each text is a pure function of the code, so a test can tell a stale one.
"""

import asyncio
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import uvicorn

from earnest.actions.accounts import create_admin
from earnest.app import build_app, build_faces
from earnest.assembly import sandbox_webhook_secret
from earnest.domain.rules import RULES
from earnest.ledger.reference import HEAD as MOVEMENTS_HEAD
from earnest.ledger.reference import movements_reference
from earnest.recording.recorder import Recorder
from earnest.recording.scenario import PASSWORD, Scenario, email
from earnest.serving import server_config
from earnest.settings import Settings, settings_reference
from earnest.store.db import Pool
from earnest.store.embedded import Embedded
from earnest.store.limits import limits_reference
from earnest.store.migrate import MIGRATIONS, dump_schema, migrate
from earnest.web.openapi import EXAMPLES
from earnest.web.operations import operations
from earnest.web.reference import (
    ENDPOINTS_HEAD,
    ERRORS_HEAD,
    endpoints_reference,
    errors_reference,
)

CHECKOUT = Path(__file__).parent.parent.parent
SCHEMA = MIGRATIONS / "schema.sql"
_NO_SECRET = b"a key for a server of one minute"

SETTINGS_HEAD = """\
# Settings

Generated from `src/earnest/settings.py` by `make docs`. All are environment variables, read once
at the start; a misspelled or malformed one stops the start with a message that names it.

"""


LIMITS_HEAD = """\
# Limits

Generated from `src/earnest/store/limits.py` by `make docs`. How often something may be tried: so
many times at once, and then one more every so many seconds. Beyond that the answer is 429 with
`Retry-After`, which is exact: whoever waits that long gets through, unless somebody else was
counted under the same limit meanwhile. Attempts that came to nothing because the server was busy
are not counted, nor are sign-ins and codes that were right. Accounts that do not exist are limited
as those that do.

An address is the client's as `EARNEST_TRUSTED_PROXIES` lets us see it; an IPv6 client is its /64
network. What is kept are keyed hashes, in the database, for all processes together. Besides,
hashing passwords has a queue of its own in each process, also answered 429 when it is full.

"""

PASSWORDS_TAIL = """
## Passwords

At least 6 characters and at most 128 bytes, with an upper-case and a lower-case letter, a digit
and one of `@$!%*?&`. A well-known word with the usual decoration (`Password1!`, `P@ssw0rd2026`,
`Qwerty@123`) is refused as well: case, look-alike characters and the digits and signs around it
are taken away before it is looked up (`src/earnest/actions/guessable.py`). All of that costs no
hash.
"""

STATES_HEAD = """\
# States and permissions

Generated from the table in `src/earnest/domain/rules.py` by `make docs`. Checks are made in the
order of the columns' precedence, top to bottom; the first that fails says why. Roles beside a
party ("buyer", "seller") must be that party of the contract.

The five statuses that marketplace clients see are a projection of the first two columns:
Canceled when the agreement has ended, else Pending until it is accepted, else the state of the
work (`src/earnest/domain/projection.py`).

Partners see another projection, in which money speaks first. The first line that fits:

| of the contract's tranches | status |
|---|---|
| one is refund_pending | refundInProgress |
| one is held | dispute while one is open, else escrow |
| none was refunded, and the agreement has ended | rejected, expired, cancelled, terminated |
| one is awaiting_payment | waitingForBankPayment |
| all are settled, one is released, the work is completed | completed |
| all are settled, one is refunded or split | refunded |
| all are released | released |
| all are unfunded | pending; once accepted: approved |

A milestone shows its own tranche in the same words.

"""


def texts() -> dict[Path, str]:
    """Every generated file but the schema, which takes a database."""
    docs = CHECKOUT / "docs"
    api = operations(build_faces(Settings(secret_key=_NO_SECRET)).routes)
    return {
        docs / "reference" / "endpoints.md": ENDPOINTS_HEAD + endpoints_reference(api),
        docs / "reference" / "errors.md": ERRORS_HEAD + errors_reference(api),
        docs / "reference" / "settings.md": SETTINGS_HEAD + settings_reference(),
        docs / "reference" / "limits.md": LIMITS_HEAD + limits_reference() + PASSWORDS_TAIL,
        docs / "reference" / "movements.md": MOVEMENTS_HEAD + movements_reference(),
        docs / "states.md": STATES_HEAD + states_reference(),
    }


def states_reference() -> str:
    """The permission table of contracts as Markdown, one section per verb."""
    sections = []
    for verb, rule in RULES.items():
        who = sorted(
            f"{role} ({rule.owner[role]})" if role in rule.owner else str(role)
            for role in rule.roles
        )
        lines = [f"## {verb}", "", f"Who: {', '.join(who)}.", "", *_STATES_TABLE]
        for check in rule.checks:
            allowed = ", ".join(sorted(check.allowed))
            named = [
                f"{state}: {refused.__doc__}"
                for state, refused in sorted(check.why.items())
                if state not in check.allowed
            ]
            refusals = "<br>".join([*named, f"else: {check.otherwise.__doc__}"])
            lines.append(f"| {check.facet} | {allowed} | {refusals} |")
        sections.append("\n".join(lines))
    return "\n\n".join(sections) + "\n"


_STATES_TABLE = ["| facet | must be | otherwise |", "|---|---|---|"]


def write_all(report: Callable[[str], None]) -> Iterator[Path]:
    """Write every generated file, and say which."""
    for path, text in texts().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        yield path
    with tempfile.TemporaryDirectory(prefix="earnest-") as directory:
        Path(directory).chmod(0o711)
        database = Embedded.start(Path(directory) / "data", report)
        try:
            asyncio.run(migrate(database.owner_dsn))
            SCHEMA.write_text(dump_schema(database.owner_dsn), "utf-8")
            EXAMPLES.write_bytes(asyncio.run(record_examples(database.app_dsn)))
        finally:
            database.release()
    yield SCHEMA
    yield EXAMPLES


async def record_examples(database_url: str) -> bytes:
    """The scenario told to a server on this empty, migrated database; as it is kept in
    `examples.json`."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = Settings(database_url=database_url, secret_key=_NO_SECRET, public_url=url)
    pool = Pool(database_url)
    await create_admin(pool, email("olga"), PASSWORD, "Olga")
    app = build_app(settings, pool)
    server = uvicorn.Server(server_config(settings, app))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
            recorder = Recorder(http, operations(app.routes))
            await Scenario(recorder, app.state.core, sandbox_webhook_secret(settings)).tell()
    finally:
        server.should_exit = True
        await serving
    compact = msgspec.json.encode(recorder.examples)
    return msgspec.json.format(compact, indent=1) + b"\n"
