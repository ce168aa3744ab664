"""The yardstick: pgbench releasing contracts by one hand-written function per transaction, and
selecting their rows."""

import asyncio
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import asyncpg

from earnest.store import binaries

HERE = Path(__file__).parent
DEBIAN = Path("/usr/lib/postgresql/15/bin/pgbench")
_TPS = re.compile(r"^tps = ([0-9.]+) ", re.MULTILINE)


def find_pgbench() -> Path | None:
    """pgbench of the embedded server, Debian's, or the one on PATH."""
    on_path = shutil.which("pgbench")
    candidates = [binaries.program("pgbench"), DEBIAN, *([Path(on_path)] if on_path else [])]
    return next((path for path in candidates if path.exists()), None)


async def install(owner_dsn: str) -> None:
    """Create the function and its sequence."""
    conn = await asyncpg.connect(owner_dsn)
    try:
        await conn.execute((HERE / "release.sql").read_text())
    finally:
        await conn.close()


async def release(pgbench: Path, dsn: str, contracts: Sequence[int], *, clients: int) -> float:
    """Release `contracts`, whose keys follow each other, each client its own share of them.

    Returns how many were released per second, connecting not counted.
    """
    span, rest = divmod(len(contracts), clients)
    if rest or contracts[-1] - contracts[0] != len(contracts) - 1:
        raise ValueError("pgbench counts through its contracts in equal shares")
    return await _run(pgbench, dsn, "release.pgbench", contracts[0], span, clients, span)


async def select(
    pgbench: Path, dsn: str, contracts: Sequence[int], *, clients: int, count: int
) -> float:
    """Select the rows of `count` of these contracts, whose keys follow each other, at random.

    Returns how many per second, connecting not counted.
    """
    each = count // clients
    return await _run(pgbench, dsn, "select.pgbench", contracts[0], len(contracts), clients, each)


async def _run(
    pgbench: Path, dsn: str, script: str, first: int, span: int, clients: int, transactions: int
) -> float:
    process = await asyncio.create_subprocess_exec(
        pgbench, "--no-vacuum", "--protocol=prepared", f"--client={clients}",
        f"--jobs={min(2, clients)}", f"--transactions={transactions}", f"--define=first={first}",
        f"--define=span={span}", "--define=n=0", f"--file={HERE / script}", dsn,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate()
    found = _TPS.search(out.decode())
    if process.returncode != 0 or found is None:
        raise RuntimeError(f"pgbench failed:\n{out.decode()}\n{errors.decode()}")
    return float(found[1])
