"""**Anchors**: what was recorded, said outside the database and signed (invariant 20).

An anchor covers an interval of database transactions, all of which have ended. It names every
event and transfer that they recorded by its key and a **print** (the beginning of its SHA-256),
the number of the anchor and the hash of the line before it. Anchors are lines of JSON in one file
a month; those of one directory are one **chain**. They are signed with Ed25519, by a key that is
derived from EARNEST_SECRET_KEY: whoever has the database cannot make one, and whoever has only the
public key can check all of them.

Invariant: a line that was written is never changed. One process at a time writes to a directory,
and what a crash left of a line is no anchor.
"""

import fcntl
import hashlib
import mmap
import os
import socket
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from earnest.errors import EarnestError

PRINT_BYTES = 16
NO_LINE = "0" * 64
"""What stands for the hash of the line before the first one."""
_ROW = struct.Struct(f">q{PRINT_BYTES}s")
_LOCK = "lock"

Row = tuple[int, bytes]
"""The key of a row, and its print."""


class AnchorsRefused(EarnestError):
    """These anchors cannot be used."""


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What transactions `from_xid` to `to_xid` (exclusive) recorded; rows as `pack` packs them.

    `at` is the database's clock when the anchor was made, `previous` the hash of the line before.
    """

    chain: str
    number: int
    at: datetime
    previous: str
    from_xid: int
    to_xid: int
    events: bytes
    transfers: bytes


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    anchor: msgspec.Raw
    key: bytes
    signature: bytes


class Written(msgspec.Struct, frozen=True):
    """An anchor where it stands. `hash` is the SHA-256 of its line, as hex."""

    place: str
    anchor: Anchor
    hash: str


class Damage(msgspec.Struct, frozen=True):
    """A line that is not as it was written; `place` is `2026-11.jsonl line 17`."""

    place: str
    expected: str
    found: str


def pack(rows: Sequence[Row]) -> bytes:
    """Keys and prints, 24 bytes a row."""
    return b"".join([_ROW.pack(*row) for row in rows])


def unpack(packed: bytes) -> list[Row]:
    """What `pack` packed. Raises struct.error for what it did not."""
    return list(_ROW.iter_unpack(packed))


# -- keys -----------------------------------------------------------------------------------


class Signer:
    """Signs anchors with the key that grows from a seed of 32 bytes."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public: bytes = self._key.public_key().public_bytes_raw()

    def line(self, anchor: Anchor) -> bytes:
        """The signed line of `anchor`, without the end of the line."""
        said = msgspec.json.encode(anchor)
        return msgspec.json.encode(_Line(msgspec.Raw(said), self.public, self._key.sign(said)))


def key_as_text(key: bytes) -> str:
    """A public key as people copy it: 44 characters."""
    return urlsafe_b64encode(key).decode()


def key_from_text(text: str) -> bytes:
    """Raises AnchorsRefused for what `key_as_text` would not write."""
    try:
        key = urlsafe_b64decode(text)
    except ValueError:
        key = b""
    if len(key) != 32 or key_as_text(key) != text:
        raise AnchorsRefused(
            "--anchor-key: expected the 44 characters of a public key, as verify --json tells it,"
            f" not {text!r}"
        )
    return key


def hash_of(line: bytes) -> str:
    """What the next anchor says of a line."""
    return hashlib.sha256(line).hexdigest()


# -- writing --------------------------------------------------------------------------------


@contextmanager
def alone(directory: Path) -> Iterator[bool]:
    """Whether this process may write to `directory`, until the end of the block.

    Makes the directory. Raises OSError where that cannot be.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(lock)


def last_of(directory: Path) -> Written | None:
    """The newest anchor, for whoever is `alone`. Cuts off what a crash left of a line.

    Raises AnchorsRefused where the last line is none.
    """
    for path in reversed(_files(directory)):
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                continue
            with mmap.mmap(file.fileno(), 0) as text:
                end = text.rfind(b"\n") + 1
                line = text[text.rfind(b"\n", 0, max(end - 1, 0)) + 1 : max(end - 1, 0)]
            if end < size:
                file.truncate(end)
                os.fsync(file.fileno())
        if line:
            read = _parsed(f"{path.name}, last line", line)
            if isinstance(read, Damage):
                raise AnchorsRefused(f"{read.place}: expected {read.expected}, not {read.found}")
            return read[0]
    return None


def append(directory: Path, at: datetime, line: bytes) -> None:
    """Write a line durably, to the file of its month (or of a later one, if there is one)."""
    names = [path.name for path in _files(directory)]
    path = directory / max([f"{at:%Y-%m}.jsonl", *names[-1:]])
    is_new = not path.exists()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        with open(file, "wb", closefd=False) as out:
            out.write(line + b"\n")
        os.fsync(file)
    finally:
        os.close(file)
    if is_new:
        folder = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def place_of(directory: Path) -> str:
    """Where anchors are, as the database notes it: host:/directory."""
    return f"{socket.gethostname()}:{directory.absolute()}"


# -- reading --------------------------------------------------------------------------------


class Anchors(msgspec.Struct, frozen=True):
    """The anchors of a directory as they are at one moment: what is written later is not read.

    `keys` are the public keys that are believed; with none of them, no signature proves anything.
    """

    directory: Path
    keys: frozenset[bytes]
    files: tuple[tuple[Path, int], ...]
    is_copy: bool = False
    """A copy may be behind what the database has on record."""

    def read(self) -> Iterator[Written | Damage]:
        """Every line, oldest first. A damage is told once, and what follows is read on from there.

        Raises AnchorsRefused where a file cannot be read.
        """
        before: Written | None = None
        for path, size in self.files:
            for number, line in enumerate(_lines(path, size), start=1):
                place = f"{path.name} line {number}"
                read = _parsed(place, line)
                if isinstance(read, Damage):
                    yield read
                    continue
                written, signed = read
                if wrong := self._unsigned(written, signed) or _unfit(before, written):
                    yield wrong
                if before is None or written.anchor.number >= before.anchor.number:
                    before = written
                    yield written

    def _unsigned(self, written: Written, line: _Line) -> Damage | None:
        if self.keys and line.key not in self.keys:
            ours = " or ".join(sorted(map(key_as_text, self.keys)))
            return Damage(written.place, f"signed by {ours}", f"by {key_as_text(line.key)}")
        try:
            Ed25519PublicKey.from_public_bytes(line.key).verify(line.signature, bytes(line.anchor))
        except (InvalidSignature, ValueError):
            return Damage(written.place, "a signature of this anchor", "one of something else")
        return None


def survey(directory: Path, keys: Collection[bytes] = (), *, is_copy: bool = False) -> Anchors:
    """The anchors that `directory` has now; none where it does not exist.

    Raises AnchorsRefused where it cannot be read.
    """
    try:
        with _undisturbed(directory):
            files = tuple((path, path.stat().st_size) for path in _files(directory))
    except OSError as error:
        raise AnchorsRefused(f"{directory} cannot be read: {error.strerror}") from None
    return Anchors(directory, frozenset(keys), files, is_copy)


def _files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.jsonl"))


@contextmanager
def _undisturbed(directory: Path) -> Iterator[None]:
    """While nobody is in the middle of a line. A copy may have come without the lock's file."""
    try:
        lock = os.open(directory / _LOCK, os.O_RDONLY)
    except FileNotFoundError:
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)


def _lines(path: Path, size: int) -> Iterator[bytes]:
    """The lines in the first `size` bytes, without their ends; an unfinished one keeps that."""
    try:
        with path.open("rb") as file:
            while (left := size - file.tell()) > 0 and (line := file.readline(left)):
                yield line[:-1] if line.endswith(b"\n") else line + b" (unfinished)"
    except OSError as error:
        raise AnchorsRefused(f"{path} cannot be read: {error.strerror}") from None


def _parsed(place: str, line: bytes) -> tuple[Written, _Line] | Damage:
    try:
        signed = msgspec.json.decode(line, type=_Line)
        anchor = msgspec.json.decode(signed.anchor, type=Anchor)
        for rows in (anchor.events, anchor.transfers):
            if len(rows) % _ROW.size:
                raise ValueError(f"{len(rows)} bytes of rows")
    except ValueError as error:
        return Damage(place, "an anchor, whole", str(error))
    return Written(place, anchor, hash_of(line)), signed


def _unfit(before: Written | None, written: Written) -> Damage | None:
    """Whether an anchor does not follow the one before it."""
    anchor = written.anchor
    if before is None:
        expected: tuple[object, ...] = (anchor.chain, 1, NO_LINE, 0)
    else:
        last = before.anchor
        expected = (last.chain, last.number + 1, before.hash, last.to_xid)
    found = (anchor.chain, anchor.number, anchor.previous, anchor.from_xid)
    names = ("chain", "anchor", "hash of the line before", "first transaction")
    for name, wanted, got in zip(names, expected, found, strict=True):
        if wanted != got:
            return Damage(written.place, f"{name} {wanted}", f"{name} {got}")
    return None
