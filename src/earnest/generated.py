"""What is generated from the code and kept in the repository, where people read it.

Invariant: each text is a pure function of the code, so a test can tell a stale one.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from earnest.settings import settings_reference
from earnest.store.embedded import Embedded
from earnest.store.migrate import MIGRATIONS, dump_schema, migrate

CHECKOUT = Path(__file__).parent.parent.parent
SCHEMA = MIGRATIONS / "schema.sql"

SETTINGS_HEAD = """\
# Settings

Generated from `src/earnest/settings.py` by `make docs`. All are environment variables, read once
at the start; a misspelled or malformed one stops the start with a message that names it.

"""


def texts() -> dict[Path, str]:
    """Every generated file but the schema, which takes a database."""
    return {CHECKOUT / "docs" / "reference" / "settings.md": SETTINGS_HEAD + settings_reference()}


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
        finally:
            database.release()
    yield SCHEMA
