"""A **dump**: a whole database at one instant, as one file in the custom format of pg_dump.

Invariants: what is written is what one snapshot saw; what is loaded is there whole, ready for
money to move, or not at all, because everything happens in one database transaction.
"""

import asyncio
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import asyncpg

from earnest.store.client_programs import Programs, connection
from earnest.store.db import DatabaseRefused
from earnest.store.migrate import ADVISORY_KEY, Applied

MAGIC = b"PGDMP"
# After the archive, where pg_restore does not look: what shows that nothing before it was changed
# or lost on the way. The format itself has no checksums, and a part of it restores as if whole.
ENDING = b"\nearnest backup, sha256 %s\n"
ENDING_BYTES = len(ENDING) - 2 + 64
CHUNK_BYTES = 1 << 20
LOOK_SECONDS = 0.2
LOCK_WAIT_SECONDS_MAX = 60

Progress = Callable[[int], None]
"""Is told how many bytes there are so far."""

RELATIONS = """
SELECT n.nspname || '.' || c.relname
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend AS d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
)
ORDER BY 1
"""

# The lock is the one of migrations: a server that starts meanwhile waits, and finds all there.
BEGIN = f"BEGIN;\nSELECT pg_advisory_xact_lock({ADVISORY_KEY});\nSET ROLE earnest_owner;\n"
# Transfers and events are in the order of their transaction ids, and this server may be younger
# than the one they come from: from now on its ids are counted from above theirs. Not a moment
# later, for what is posted with a lower one would be taken for summed up, and anchored, already.
FINISH = """
UPDATE public.ledger_horizon AS h SET xid_offset = greatest(
    h.xid_offset, h.horizon_xid, (SELECT coalesce(max(t.xid), 0) FROM public.transfer AS t),
    (SELECT coalesce(max(e.xid), 0) FROM public.event AS e)
);
SET client_min_messages = error;
ANALYZE;
COMMIT;
"""


class DumpRefused(DatabaseRefused):
    """This file cannot be restored."""


# -- writing --------------------------------------------------------------------------------


async def write(
    programs: Programs, dsn: str, snapshot: str, to: IO[bytes], progress: Progress
) -> None:
    """Write to the file `to` what the exported `snapshot` sees, as the owner of everything. It is
    complete when `finish` has put its ending behind it.

    Raises DatabaseRefused with what pg_dump says.
    """
    url, environment = connection(dsn)
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            programs["pg_dump"], "--format=custom", f"--snapshot={snapshot}",
            "--role=earnest_owner", f"--lock-wait-timeout={LOCK_WAIT_SECONDS_MAX}s",
            "--no-password", "--dbname", url,
            stdin=asyncio.subprocess.DEVNULL, stdout=to, stderr=said, env=environment,
        )  # fmt: skip
        ended = asyncio.ensure_future(process.wait())
        try:
            while not ended.done():
                await asyncio.wait([ended], timeout=LOOK_SECONDS)
                progress(os.fstat(to.fileno()).st_size)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        _check("pg_dump", process.returncode, said)


def finish(to: IO[bytes]) -> None:
    """Put the ending behind a dump that is complete. `to` can be read, too."""
    to.seek(0)
    digest = hashlib.file_digest(to, "sha256").hexdigest()  # type: ignore[arg-type]
    to.write(ENDING % digest.encode())
    to.flush()


# -- looking into it ------------------------------------------------------------------------


def check_whole(file: Path) -> None:
    """Raises DumpRefused unless `file` is to the last byte what `write` and `finish` wrote."""
    try:
        if not file.is_file():
            raise DumpRefused(f"{file}: there is no such file.")
        with file.open("rb") as opened:
            is_dump = opened.read(len(MAGIC)) == MAGIC
            is_whole = is_dump and _ends_well(opened)
    except OSError as error:
        raise DumpRefused(f"{file} cannot be read: {error.strerror}.") from error
    if not is_dump:
        raise DumpRefused(f"{file} is not a file that earnest backup has written.")
    if not is_whole:
        raise DumpRefused(
            f"{file} is not as earnest backup has written it: it was cut short, or damaged. Copy"
            " it again, or take another backup."
        )


def _ends_well(opened: IO[bytes]) -> bool:
    rest = opened.seek(0, os.SEEK_END) - ENDING_BYTES
    if rest < len(MAGIC):
        return False
    opened.seek(0)
    digest = hashlib.sha256()
    while rest > 0 and (chunk := opened.read(min(rest, CHUNK_BYTES))):
        digest.update(chunk)
        rest -= len(chunk)
    return opened.read() == ENDING % digest.hexdigest().encode()


def contents(programs: Programs, file: Path) -> list[str]:
    """The table of contents, a line for each object. Raises DumpRefused if it cannot be read."""
    listed = _output(programs, file, "--list")
    return [line for line in listed.splitlines() if line and not line.startswith(";")]


def applied_migrations(programs: Programs, file: Path) -> list[Applied]:
    """The record of migrations in the dump. Raises DumpRefused if there is none."""
    told = _output(programs, file, "--data-only", "--schema=public", "--table=schema_migration")
    found = re.search(r"^COPY public\.schema_migration \((.*)\) FROM stdin;$", told, re.MULTILINE)
    if found is None:
        raise DumpRefused(f"{file} is a dump of some other database, not of Earnest's.")
    columns = found[1].split(", ")
    rows: list[Applied] = []
    for line in told[found.end() :].strip().splitlines():
        if line == "\\.":
            return sorted(rows, key=lambda row: row.number)
        row = dict(zip(columns, line.split("\t"), strict=True))
        rows.append(Applied(int(row["number"]), row["name"], row["sha256"]))
    raise DumpRefused(f"{file} is cut short.")


def _output(programs: Programs, file: Path, *options: str) -> str:
    done = subprocess.run(
        [programs["pg_restore"], *options, "--file=-", file],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DumpRefused(f"{file} cannot be read: {done.stderr.strip()}")
    return done.stdout


# -- loading --------------------------------------------------------------------------------


async def relations(conn: asyncpg.Connection) -> list[str]:
    """The tables, views and sequences there are, by name, but for those of extensions."""
    return [row[0] for row in await conn.fetch(RELATIONS)]


def load(programs: Programs, dsn: str, file: Path, listed: list[str], progress: Progress) -> None:
    """Make everything in `file` be in the empty database at `dsn`, with fresh statistics.

    `listed` are its contents. Owner, grants and triggers are as the migrations make them. Raises
    DatabaseRefused; then the database is as empty as before, unless it says otherwise.
    """
    url, environment = connection(dsn)
    psql: list[str | Path] = [programs["psql"], "-XqwA", "--set=ON_ERROR_STOP=1", "--file=-", url]
    is_ending = False
    with (
        tempfile.NamedTemporaryFile("w") as wanted,
        tempfile.TemporaryFile() as said,
        tempfile.TemporaryFile() as complained,
    ):
        # Extensions are the server's business: we need none, and may not make one.
        wanted.writelines(f"{line}\n" for line in listed if " EXTENSION " not in line)
        wanted.flush()
        pg_restore: list[str | Path] = [
            programs["pg_restore"], "--file=-", "--no-owner", "--no-tablespaces",
            "--no-publications", "--no-subscriptions", f"--use-list={wanted.name}", file,
        ]  # fmt: skip
        with (
            _running(
                psql, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, env=environment
            ) as writer,
            _running(pg_restore, stdout=subprocess.PIPE, stderr=complained) as reader,
        ):
            assert writer.stdin is not None
            assert reader.stdout is not None
            try:
                writer.stdin.write(BEGIN.encode())
                _copy(reader.stdout, writer.stdin, progress)
                # Whatever stops us before here closes psql's input, and so ends in a rollback.
                if reader.wait() == 0:
                    is_ending = True
                    writer.stdin.write(FINISH.encode())
                writer.stdin.close()
            except BrokenPipeError:
                reader.kill()
            writer.wait()
        if writer.returncode == 0 and not is_ending:
            _check(f"{file} cannot be read, nothing was restored: pg_restore", 1, complained)
        if writer.returncode != 0:
            outcome = (
                "whether the restore was completed is not known, see earnest db status"
                if is_ending
                else "nothing was restored"
            )
            _check(f"{outcome}: psql", writer.returncode, said)


def _copy(source: IO[bytes], target: IO[bytes], progress: Progress) -> None:
    copied = 0
    while chunk := source.read(CHUNK_BYTES):
        target.write(chunk)
        copied += len(chunk)
        progress(copied)
    target.flush()


@contextmanager
def _running(command: list[str | Path], **options: object) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is gone at the end, whatever happens."""
    process: subprocess.Popen[bytes] = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stdin):
            if pipe is not None and not pipe.closed:
                _close(pipe)


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:  # what was still to be written has no reader any more
        return


def _check(who: str, code: int | None, said: IO[bytes]) -> None:
    if code == 0:
        return
    said.seek(0)
    words = said.read().decode(errors="replace").strip()
    raise DatabaseRefused(f"{who} failed: {words or f'it ended with {code}'}")
