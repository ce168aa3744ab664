"""The yardstick: pgbench releasing contracts by one hand-written function per transaction, and
selecting their rows."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import msgspec

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


class Measured(msgspec.Struct, frozen=True):
    """What pgbench did per second, connecting not counted, and how long each transaction took, in
    seconds."""

    per_second: float
    latencies: list[float]


async def release(pgbench: Path, dsn: str, contracts: Sequence[int], *, clients: int) -> Measured:
    """Release `contracts`, whose keys follow each other, each client its own share of them."""
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
    measured = await _run(
        pgbench, dsn, "select.pgbench", contracts[0], len(contracts), clients, each
    )
    return measured.per_second


async def _run(
    pgbench: Path, dsn: str, script: str, first: int, span: int, clients: int, transactions: int
) -> Measured:
    with tempfile.TemporaryDirectory(prefix="earnest-pgbench-") as directory:
        process = await asyncio.create_subprocess_exec(
            pgbench, "--no-vacuum", "--protocol=prepared", f"--client={clients}",
            f"--jobs={min(2, clients)}", f"--transactions={transactions}",
            f"--define=first={first}", f"--define=span={span}", "--define=n=0",
            f"--file={HERE / script}", "--log", f"--log-prefix={directory}/log", dsn,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, errors = await process.communicate()
        found = _TPS.search(out.decode())
        if process.returncode != 0 or found is None:
            raise RuntimeError(f"pgbench failed:\n{out.decode()}\n{errors.decode()}")
        return Measured(float(found[1]), _latencies(Path(directory)))


def _latencies(directory: Path) -> list[float]:
    """Of the logs in there; a line is client, number, microseconds, ..."""
    lines = [line for log in directory.iterdir() for line in log.read_text().splitlines()]
    return [int(line.split()[2]) / 1e6 for line in lines]
