"""The **server account**: who the embedded PostgreSQL runs as, and how its programs are run.

PostgreSQL refuses to run as root. Invariant: for an ordinary user everything runs as that user;
for root everything runs as the owner of the data, which for new data is `earnest-pg` (made if
this machine lets us) or else `nobody`, from a copy of the programs that this account can reach.
"""

import contextlib
import os
import pwd
import subprocess
import tempfile
from pathlib import Path
from typing import Self, TypedDict

import msgspec

from earnest.store import binaries
from earnest.store.db import DatabaseRefused

ACCOUNT = "earnest-pg"


class Spawn(TypedDict):
    """Keyword arguments of subprocess that say who a program runs as, and with what around it."""

    cwd: str
    env: dict[str, str]
    umask: int
    user: int | None
    group: int | None
    extra_groups: list[int] | None


class ServerAccount(msgspec.Struct, frozen=True):
    """`uid` and `gid` of the account and, if it is not our own, its copy of the server tree."""

    uid: int
    gid: int
    tree: Path | None

    @classmethod
    def of(cls, data_dir: Path, pgdata: Path) -> Self:
        """The account for `pgdata` in `data_dir`, which it is let into.

        Raises DatabaseRefused, with the fix, if it cannot get there; PermissionError if the data
        belong to another user than ours.
        """
        owner = pgdata.stat() if pgdata.exists() else None
        if os.geteuid() != 0:
            if owner is not None and owner.st_uid != os.geteuid():
                raise PermissionError(1, "belongs to another user", str(pgdata))
            return cls(os.geteuid(), os.getegid(), None)
        if owner is None:
            found = _find_or_create()
            uid, gid = found.pw_uid, found.pw_gid
        else:
            uid, gid = owner.st_uid, owner.st_gid
        self = cls(uid, gid, binaries.shared_tree(beside=data_dir))
        self._let_into(data_dir)
        return self

    def run(self, name: str, *arguments: str | Path, stdin: str = "") -> None:
        """Run one of PostgreSQL's programs to its end; DatabaseRefused if it fails.

        Whoever interrupts us, by Ctrl-C for instance, waits until the program is done: one that
        is killed leaves children of its own behind.
        """
        with (
            tempfile.TemporaryFile("w+") as output,
            subprocess.Popen(
                [self.program(name), *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                **self.spawn(),
            ) as process,
        ):
            try:
                process.communicate(stdin)
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait()
            if process.returncode != 0:
                output.seek(0)
                raise DatabaseRefused(f"{name} failed: {output.read().strip()}")

    def program(self, name: str) -> Path:
        return binaries.program(name, self.tree)

    def spawn(self) -> Spawn:
        """For subprocess: as this account, in no particular directory, with no secrets around."""
        switch = self.uid != os.geteuid()
        return Spawn(
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            umask=0o077,
            user=self.uid if switch else None,
            group=self.gid if switch else None,
            extra_groups=[] if switch else None,
        )

    def own(self, path: Path) -> None:
        """Give `path` to the account, with nobody else able to read it."""
        path.chmod(0o700 if path.is_dir() else 0o600)
        if self.uid != os.geteuid():
            os.chown(path, self.uid, self.gid)

    def write(self, path: Path, text: str) -> None:
        path.write_text(text, "utf-8")
        self.own(path)

    def _let_into(self, data_dir: Path) -> None:
        if self._can_enter(data_dir):
            return
        for parent in reversed(data_dir.parents):
            if not self._can_enter(parent):
                raise DatabaseRefused(
                    f"PostgreSQL does not run as root, and user {_name_of(self.uid)}, which it"
                    f" runs as, cannot enter {parent}. Fix: chmod o+x '{parent}', or keep the"
                    " data elsewhere, for example --data /var/lib/earnest/data"
                )
        os.chown(data_dir, -1, self.gid)
        data_dir.chmod(data_dir.stat().st_mode & 0o7777 | 0o010)

    def _can_enter(self, directory: Path) -> bool:
        tried = subprocess.run(
            ["/bin/sh", "-c", 'cd -- "$1"', "sh", directory],
            stderr=subprocess.DEVNULL,
            check=False,
            **self.spawn(),
        )
        return tried.returncode == 0


def _find_or_create() -> pwd.struct_passwd:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(ACCOUNT)
    with contextlib.suppress(OSError):  # no such program, for instance
        subprocess.run(command, capture_output=True, check=False)
    with contextlib.suppress(KeyError):  # made by us, or at the same moment by another process
        return pwd.getpwnam(ACCOUNT)
    return pwd.getpwnam("nobody")


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
