"""`earnest` with a fault planted in its door, to show that tests would see it.

    python tests/planted.py early-reply serve --port 0 --data DIR

runs the ordinary command; only its API and worker processes get the fault, before they begin.

    early-reply     a canary: the answer leaves before the commit is made
    late-record     a canary: the idempotency record is kept after the commit, and not in it
    failpoint       the process stumbles once, at the point that the file FAILPOINT names

The file says when, how and at what, such as `before kill contract.released`: when is before or
after the commit, how is raise or kill, and what is an event of the change. It is gone once used.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from earnest import serving, working
from earnest.__main__ import main as earnest
from earnest.store import idempotency
from earnest.store.commit import Commit, Door

PROGRAMS = {"earnest.serving": serving.main, "earnest.working": working.main}
AWHILE_SECONDS = 0.1
"""As long as a busy disk takes. Wide enough that a kill under load finds somebody in it."""

commit_of = Door.commit


class Stumbled(RuntimeError):
    """What a failpoint raises."""


def early_reply() -> None:
    """Canary: acknowledge first, commit then."""
    under_way: set[asyncio.Task[bool]] = set()

    async def commit_later(door: Door, commit: Commit) -> bool:
        await asyncio.sleep(AWHILE_SECONDS)
        return await commit_of(door, commit)

    async def commit(door: Door, commit: Commit) -> bool:
        task = asyncio.create_task(commit_later(door, commit))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        return True

    Door.commit = commit  # type: ignore[method-assign, assignment]


def late_record() -> None:
    """Canary: the record of a request in a database transaction of its own."""

    async def commit(door: Door, commit: Commit) -> bool:
        bare = msgspec.structs.replace(commit, once=None, reply=None)
        is_done = await commit_of(door, bare)
        if is_done and commit.once is not None and commit.reply is not None:
            await asyncio.sleep(AWHILE_SECONDS)
            async with door._pool.connection() as conn:
                await idempotency.keep(conn, commit.once, commit.reply, commit.change.commit_id)
        return is_done

    Door.commit = commit  # type: ignore[method-assign, assignment]


def failpoint() -> None:
    """Stumble where the file says, once."""
    armed = Path(os.environ["FAILPOINT"])

    def stumble(when: str, commit: Commit) -> None:
        if not armed.exists():
            return
        at, how, what = armed.read_text().split()
        if at != when or what not in {event.type for event in commit.change.events}:
            return
        armed.unlink()
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise Stumbled(f"{when} the commit")

    async def commit(door: Door, commit: Commit) -> bool:
        stumble("before", commit)
        is_done = await commit_of(door, commit)
        stumble("after", commit)
        return is_done

    Door.commit = commit  # type: ignore[method-assign, assignment]


FAULTS: dict[str, Callable[[], None]] = {
    "early-reply": early_reply,
    "late-record": late_record,
    "failpoint": failpoint,
}


class PlantedProcess(subprocess.Popen[Any]):
    """A process that the supervisor starts: those that serve get the fault."""

    fault = ""

    def __init__(self, command: list[str], **how: Any) -> None:
        if command[1:2] == ["-m"] and command[2] in PROGRAMS:
            command = [sys.executable, __file__, self.fault, command[2]]
        super().__init__(command, **how)


def planted(fault: str) -> tuple[str, ...]:
    """The command that is `earnest` with a fault."""
    return (sys.executable, __file__, fault)


def main() -> None:
    fault, *command = sys.argv[1:]
    if command[0] in PROGRAMS:
        FAULTS[fault]()
        PROGRAMS[command[0]]()
    else:
        PlantedProcess.fault = fault
        subprocess.Popen = PlantedProcess  # type: ignore[misc, assignment]
        sys.argv[1:] = command
        earnest()


if __name__ == "__main__":
    main()
