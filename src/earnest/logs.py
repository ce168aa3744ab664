"""**Log lines**: one event each, with fields from an allow-list, as JSON or for people to read.

Invariant: what people sent us (names, addresses, tokens, codes, paths, queries, bodies) reaches no
line. A field that `FIELDS` does not name is dropped, a text is cut at its length there. Of an
exception the type and the places in the code are told, never its message: a database repeats row
values in its own. The same for what a library says: where it was said stands for the words.

    logs.start("json", "api 1")                   once per process, at its start
    structlog.get_logger().warning("payment event refused", reason=code)
    logging.getLogger(__name__)                   works as well
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import sys
import threading
import traceback
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from select import PIPE_BUF
from types import TracebackType
from typing import Any, BinaryIO, ClassVar, Literal

import msgspec
import structlog

from earnest.errors import EarnestError

Format = Literal["json", "text"]

REQUEST_ID: ContextVar[str] = ContextVar("earnest_request_id", default="")
"""The request that this task works for; on every line it causes."""

FRAMES_MAX = 30
CAUSES_MAX = 4

FIELDS: dict[str, int] = {
    "time": 40,
    "level": 10,
    "event": 300,
    "logger": 60,
    "process": 20,
    "request_id": 64,
    "method": 10,
    "route": 120,
    "status": 10,
    "seconds": 24,
    "client": 8,
    "reason": 300,
    "code": 60,
    "bytes": 20,
    "count": 20,
    "number": 20,
    "hash": 64,
    "said_at": 120,
    "exceptions": 0,
}
"""Every field that a line may have, with the most characters of its value."""

OURS = "earnest"


class Exceptional(msgspec.Struct, omit_defaults=True):
    """An exception without its words. `frames` are `file:line function`, outermost first.

    Of a database's error its SQLSTATE and the name of the constraint, which are ours, are told.
    """

    type: str
    frames: list[str]
    sqlstate: str = ""
    constraint: str = ""


class RequestLine(msgspec.Struct, kw_only=True):
    """One request that was answered. `client` is a keyed hash; see `ClientNames`."""

    time: datetime
    level: str = "info"
    event: str = "request"
    process: str = ""
    request_id: str
    method: str
    route: str
    status: int
    seconds: float
    client: str


class ClientNames:
    """Eight hex digits for an address: one client's lines belong together, and name nobody."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[str, str] = {}

    def __call__(self, address: str) -> str:
        name = self._known.get(address)
        if name is None:
            name = hmac.digest(self._key, address.encode(), hashlib.sha256).hex()[:8]
            if len(self._known) >= 4_096:
                self._known.clear()
            self._known[address] = name
        return name


# -- where lines go -------------------------------------------------------------------------


class _Out:
    """Where this process's lines go: nowhere until `start`."""

    process = ""
    is_json = False
    write: Callable[[bytes], Any] | None = None
    soon: ClassVar[list[bytes]] = []


def start(form: Format, process: str, stream: BinaryIO | None = None) -> None:
    """Send every line of this process, called `process`, to `stream` (standard error).

    From INFO upwards, those of the standard library's loggers and of what nobody caught, too.
    """
    # Unbuffered: a line is one write, which processes that share a pipe do not cut in two.
    out = stream or open(2, "wb", buffering=0, closefd=False)  # noqa: SIM115
    _Out.process, _Out.is_json, _Out.write = process, form == "json", out.write
    structlog.configure(
        processors=[_from_structlog],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_Sink,
        cache_logger_on_first_use=False,
    )
    _remove_handlers()
    root = logging.getLogger()
    root.addHandler(_Handler())
    root.setLevel(logging.INFO)
    quiet = {"uvicorn": logging.ERROR, "httpx": logging.WARNING, "stripe": logging.WARNING}
    for library, level in quiet.items():
        logging.getLogger(library).setLevel(level)
    sys.excepthook = _uncaught
    sys.unraisablehook = lambda found: _uncaught(
        found.exc_type, found.exc_value, found.exc_traceback
    )
    threading.excepthook = lambda found: _uncaught(
        found.exc_type, found.exc_value, found.exc_traceback
    )


def is_started() -> bool:
    """Whether a line would go anywhere."""
    return _Out.write is not None


def tell_request(line: RequestLine) -> None:
    """Write a line whose fields are ours, all of them bounded: no look at each.

    It leaves at the end of this turn of the event loop, with others that ended meanwhile.
    """
    line.process = _Out.process
    told = _ENCODER.encode(line) + b"\n" if _Out.is_json else _request_as_text(line)
    if not _Out.soon:
        asyncio.get_running_loop().call_soon(flush)
    _Out.soon.append(told)


def tell(level: str, event: str, **fields: Any) -> None:
    """Write one line, as much of it as FIELDS allows."""
    found: dict[str, Any] = {"time": _now(), "level": level, "event": event}
    if _Out.process:
        found["process"] = _Out.process
    if request_id := REQUEST_ID.get():
        found["request_id"] = request_id
    allowed = _allowed(found | fields)
    _send(_ENCODER.encode(allowed) + b"\n" if _Out.is_json else _as_text(allowed))


def _send(line: bytes) -> None:
    flush()
    _write(line)


def flush() -> None:
    """The lines of requests that ended in this turn, as few writes as processes that share a pipe
    may use."""
    together = b""
    for line in _Out.soon:
        if len(together) + len(line) > PIPE_BUF:
            _write(together)
            together = b""
        together += line
    _Out.soon.clear()
    if together:
        _write(together)


def _write(line: bytes) -> None:
    if _Out.write is not None:
        # A full disk or a reader that went away stops no request.
        with contextlib.suppress(OSError, ValueError):
            _Out.write(line)


def _now() -> str:
    return _instant(datetime.now(UTC))


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")[:-6] + "Z"


def _allowed(fields: dict[str, Any]) -> dict[str, Any]:
    """Those that FIELDS names, as numbers or as texts of its length."""
    kept: dict[str, Any] = {}
    for name, characters_max in FIELDS.items():
        value = fields.get(name)
        if value is None:
            continue
        if name == "exceptions":
            if isinstance(value, list) and all(isinstance(one, Exceptional) for one in value):
                kept[name] = value
        elif isinstance(value, (bool, int, float)):
            kept[name] = value
        elif isinstance(value, str):
            kept[name] = value[:characters_max]
    return kept


def _request_as_text(line: RequestLine) -> bytes:
    """As `_as_text`, which would look at each character."""
    return (
        f"{_instant(line.time)} {line.level:<7} {line.event}  process={line.process}"
        f"  request_id={line.request_id}  method={line.method}  route={line.route}"
        f"  status={line.status}  seconds={line.seconds}  client={line.client}\n"
    ).encode()


def _as_text(fields: dict[str, Any]) -> bytes:
    """2026-05-01T09:00:00.000Z warning mail is late  count=3"""
    rest = dict(fields)
    head = f"{rest.pop('time')} {rest.pop('level'):<7} {rest.pop('event')}"
    exceptions = rest.pop("exceptions", [])
    lines = ["  ".join([head, *(f"{name}={value}" for name, value in rest.items())])]
    for one in exceptions:
        lines.append(" ".join(filter(None, ("   ", one.type, one.sqlstate, one.constraint))))
        lines += [f"      {frame}" for frame in one.frames]
    # Nobody writes a second line, nor colours the terminal.
    shown = (line.rstrip() if line.isprintable() else _printable(line) for line in lines)
    return ("\n".join(shown) + "\n").encode("utf-8", "backslashreplace")


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line).rstrip()


# -- what comes in --------------------------------------------------------------------------


class _Sink:
    """What structlog writes to, when everything was written already."""

    def __init__(self, *_: Any) -> None: ...

    def msg(self, *_: Any, **__: Any) -> None: ...

    debug = info = warning = error = critical = exception = msg


def _from_structlog(_: Any, method: str, fields: MutableMapping[str, Any]) -> Any:
    event = str(fields.pop("event", ""))
    error = fields.pop("exc_info", None)
    if error is True or (error is None and method == "exception"):
        error = sys.exception()
    if isinstance(error, tuple):
        error = error[1]
    given = {name: value for name, value in fields.items() if name not in {"time", "level"}}
    if isinstance(error, BaseException):
        given["exceptions"] = without_words(error)
    tell("error" if method == "exception" else method, event, **given)
    raise structlog.DropEvent


class _Handler(logging.Handler):
    """The standard library's records. Only our own loggers' words are repeated."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name}
        if record.name.partition(".")[0] == OURS:
            event = record.getMessage()
        else:
            event = f"a message of {record.name}"
            fields["said_at"] = f"{_place(record.pathname)}:{record.lineno} {record.funcName}"
        if record.exc_info and record.exc_info[1] is not None:
            fields["exceptions"] = without_words(record.exc_info[1])
        tell(record.levelname.lower(), event, **fields)


def _uncaught(
    kind: type[BaseException], error: BaseException | None, _: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    reason = str(error) if isinstance(error, EarnestError) else None
    told = without_words(error) if error is not None else []
    tell("critical", "nobody caught this", reason=reason, exceptions=told)


def without_words(error: BaseException) -> list[Exceptional]:
    """`error` and what caused it, as types and places; no message, no value."""
    told: list[Exceptional] = []
    seen: BaseException | None = error
    while seen is not None and len(told) < CAUSES_MAX:
        told.append(
            Exceptional(
                f"{type(seen).__module__}.{type(seen).__qualname__}",
                [
                    f"{_place(frame.filename)}:{frame.lineno} {frame.name}"
                    for frame in traceback.extract_tb(seen.__traceback__, FRAMES_MAX)
                ],
                str(getattr(seen, "sqlstate", None) or "")[:5],
                str(getattr(seen, "constraint_name", None) or "")[:60],
            )
        )
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return told


def _place(filename: str) -> str:
    """src/earnest/web/auth.py -> earnest/web/auth.py: where things are installed tells nothing."""
    path = Path(filename)
    for marker in ("site-packages", "src", f"python{sys.version_info[0]}.{sys.version_info[1]}"):
        if marker in path.parts:
            return "/".join(path.parts[path.parts.index(marker) + 1 :])
    return path.name


def _remove_handlers() -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _Handler):
            root.removeHandler(handler)


_ENCODER = msgspec.json.Encoder()
