"""Every knob of Earnest, read once from the environment into one frozen struct.

A **setting** is a field of `Settings`; its variable is the upper-case name after `EARNEST_`, its
unit is in its name, and its `Meta` description is what `docs/reference/settings.md` says of it.
Invariant: a process that got past `read_settings` has settings it can work with; a variable that
is misspelled, malformed or unsafe in production stops it with a message that names the variable.
"""

import difflib
import os
import secrets
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from earnest.errors import EarnestError

PREFIX = "EARNEST_"
SECRET_KEY_BYTES_MIN = 32
METRICS_TOKEN_CHARACTERS_MIN = 16
STRIPE_TEST_KEYS = ("sk_test_", "rk_test_")
STRIPE_LIVE_KEYS = ("sk_live_", "rk_live_")


class BadSetting(EarnestError):
    """A setting cannot be used."""

    def __init__(self, variable: str, expected: str) -> None:
        super().__init__(f"{variable}: {expected}")
        self.variable = variable


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What `read_settings` returns. Empty means "not set"."""

    env: Annotated[
        Literal["sandbox", "production"],
        Meta(description="`sandbox` has a test clock, a mailbox and test payments"),
    ] = "sandbox"
    data_dir: Annotated[
        Path, Meta(description="where the embedded database and the generated key live")
    ] = Path("data")
    database_url: Annotated[
        str,
        Meta(
            description="`postgresql://` URL of role earnest_app; unset: the embedded PostgreSQL",
            extra={"schemes": ("postgresql", "postgres")},
        ),
    ] = ""
    migrate_database_url: Annotated[
        str,
        Meta(
            description="the same database as earnest_owner; needed with `EARNEST_DATABASE_URL`"
            " unless that role may become earnest_owner",
            extra={"schemes": ("postgresql", "postgres")},
        ),
    ] = ""
    pool_connections_max: Annotated[
        int, Meta(ge=2, le=200, description="database connections per process")
    ] = 16
    statement_timeout_seconds: Annotated[
        int, Meta(ge=1, le=600, description="after which the database gives up a statement")
    ] = 30
    secret_key: Annotated[
        bytes,
        Meta(
            description="at least 32 bytes that sign and encrypt; generated into the data"
            " directory outside production; changing it signs everybody out",
            extra={"secret": True},
        ),
    ] = b""
    anchor_dir: Annotated[
        str,
        Meta(
            description="where anchors are written, best on another machine's disk"
            " (docs/anchors.md); unset: `anchors` in the data directory"
        ),
    ] = ""
    anchor_seconds: Annotated[
        int, Meta(ge=0, le=86_400, description="how often an anchor is written; 0: never")
    ] = 600
    public_url: Annotated[
        str,
        Meta(
            description="where browsers and providers reach this server; its host is the one"
            " accepted in Host headers, besides loopback in the sandbox",
            extra={"schemes": ("http", "https")},
        ),
    ] = "http://127.0.0.1:8000"
    operator_name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=60,
            description="who holds the money, as buyers read it on the hosted pages",
        ),
    ] = "Earnest"
    client_url: Annotated[
        str,
        Meta(
            description="origin of the web client, such as `http://127.0.0.1:5173`: may call this"
            " server from a browser; mails and checkouts lead back to it",
            extra={"schemes": ("http", "https")},
        ),
    ] = ""
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="addresses or networks whose X-Forwarded-* headers are believed,"
            " separated by commas"
        ),
    ] = ()
    connections_max: Annotated[
        int,
        Meta(
            ge=16,
            le=60_000,
            description="HTTP connections per process; one address gets half of them at most,"
            " unless it is a trusted proxy",
        ),
    ] = 1000
    provider: Annotated[
        Literal["sandbox", "stripe"], Meta(description="who takes and pays out money")
    ] = "sandbox"
    stripe_secret_key: Annotated[
        str,
        Meta(
            description="`sk_test_...`, `rk_test_...`, `sk_live_...` or `rk_live_...`, which says"
            " whether money is real; needed with provider stripe",
            extra={"secret": True},
        ),
    ] = ""
    stripe_webhook_secret: Annotated[
        tuple[str, ...],
        Meta(
            description="`whsec_...` that events to `/webhook` are signed with, several separated"
            " by commas while one is exchanged; needed with provider stripe",
            extra={"secret": True},
        ),
    ] = ()
    stripe_api_base: Annotated[
        str,
        Meta(
            description="another address of Stripe's API, for tests; https in production",
            extra={"schemes": ("http", "https")},
        ),
    ] = ""
    sandbox_onboarding: Annotated[
        bool,
        Meta(
            description="let people visit the sandbox provider's onboarding page before they can"
            " be paid, as Stripe does; provider sandbox only"
        ),
    ] = False
    smtp_url: Annotated[
        str,
        Meta(
            description="`smtp://user:password@host:587` (STARTTLS) or `smtps://...`; unset in"
            " the sandbox: mail goes to `GET /sandbox/mailbox` only",
            extra={"schemes": ("smtp", "smtps"), "secret": True},
        ),
    ] = ""
    metrics_token: Annotated[
        str,
        Meta(
            description="at least 16 characters that Prometheus sends as a bearer token to"
            " `GET /metrics`; unset, that is open in the sandbox and closed in production",
            extra={"secret": True},
        ),
    ] = ""
    log_format: Annotated[
        Literal["text", "json"],
        Meta(
            description="lines on standard error, for people or machines; json in production if"
            " unset"
        ),
    ] = "text"
    log_requests: Annotated[
        bool, Meta(description="a line for every request; the demo is served without")
    ] = True
    drain_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=300,
            description="after SIGTERM, for how long requests are still taken while `/readyz`"
            " already fails, so that a load balancer can turn elsewhere",
        ),
    ] = 0
    anonymous_reads: Annotated[
        bool,
        Meta(description="whether lists answer without a token (D8); off in production if unset"),
    ] = True
    access_token_seconds: Annotated[
        int, Meta(ge=1, le=86_400, description="how long a login token is good, in real time")
    ] = 7200
    webhook_allow_private: Annotated[
        bool,
        Meta(description="let webhook URLs be plain http on loopback; sandbox only"),
    ] = False

    @property
    def is_production(self) -> bool:
        return self.env == "production"

    @property
    def anchors_path(self) -> Path:
        """The directory of the anchors."""
        return Path(self.anchor_dir or self.data_dir / "anchors").expanduser()


def variable_of(field: str) -> str:
    """The environment variable of a field: data_dir -> EARNEST_DATA_DIR."""
    return PREFIX + field.upper()


def read_settings(environ: Mapping[str, str] = os.environ, **given: Any) -> Settings:
    """The settings of `environ`, with `given` fields (from the command line) above them.

    Raises BadSetting. An empty variable counts as unset. Unknown EARNEST_ variables are refused
    too, because a misspelled one would silently leave its default in force, except
    EARNEST_TEST_... ones, which belong to the tests.
    """
    fields = set(Settings.__struct_fields__)
    values: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(PREFIX) or variable.startswith(f"{PREFIX}TEST_"):
            continue
        field = variable.removeprefix(PREFIX).lower()
        if field not in fields:
            close = difflib.get_close_matches(field, fields, 1)
            hint = f"; did you mean {variable_of(close[0])}?" if close else ""
            raise BadSetting(variable, f"there is no such setting{hint}")
        if text.strip():
            values[field] = _parse(field, text.strip())
    values |= given
    values.setdefault("anonymous_reads", values.get("env") != "production")
    values.setdefault("log_format", "json" if values.get("env") == "production" else "text")
    settings = Settings(**values)
    _check(settings)
    return settings


def with_secret_key(settings: Settings) -> Settings:
    """`settings` with a secret key: its own, or the one kept in the data directory.

    The first process to ask makes it (mode 0600); all later ones read the same.
    """
    if settings.secret_key:
        return settings
    path = settings.data_dir / "secret_key"
    if not path.exists():
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = path.with_name(f"secret_key.{os.getpid()}.new")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(48))
        try:
            path.hardlink_to(fresh)  # fails if another process was faster: then theirs holds
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return msgspec.structs.replace(settings, secret_key=path.read_bytes().strip())


_TYPES = get_type_hints(Settings, include_extras=True)


def _parse(field: str, text: str) -> Any:
    kind = _TYPES[field]
    extra = _meta(field).extra or {}
    try:
        value = _convert(get_args(kind)[0], text)
        if not isinstance(value, (Path, bytes)):
            msgspec.convert(value, kind)
    except (ValueError, msgspec.ValidationError) as error:
        shown = "what was given" if extra.get("secret") else repr(text)
        raise BadSetting(variable_of(field), f"{error}, not {shown}") from None
    if "schemes" in extra:
        _check_url(field, text, extra["schemes"])
    return value


def _convert(kind: Any, text: str) -> Any:
    if kind is int:
        if not (text.isascii() and text.isdigit()):
            raise ValueError("expected a whole number")
        return int(text)
    if kind is bool:
        spoken = {"1": True, "true": True, "on": True, "yes": True}
        spoken |= {"0": False, "false": False, "off": False, "no": False}
        if text.lower() not in spoken:
            raise ValueError("expected 1 or 0 (true or false, on or off)")
        return spoken[text.lower()]
    if kind is bytes:
        return text.encode()
    if kind is Path:
        return Path(text).expanduser()
    if kind == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if get_args(kind) and text not in get_args(kind):  # Literal
        raise ValueError(f"expected {' or '.join(get_args(kind))}")
    return text


def _check_url(field: str, text: str, schemes: tuple[str, ...]) -> None:
    """The text itself is not repeated: such a URL may hold a password."""
    expected = f"expected a URL that begins with {' or '.join(f'{s}://' for s in schemes)}"
    try:
        url = urlsplit(text)
        url.port  # noqa: B018  raises on a port that is none
    except ValueError:
        raise BadSetting(variable_of(field), expected) from None
    if url.scheme not in schemes or (url.scheme.startswith("http") and not url.hostname):
        raise BadSetting(variable_of(field), expected)


def _check(settings: Settings) -> None:
    """What no single variable's type can tell."""
    for proxy in settings.trusted_proxies:
        try:
            ip_network(proxy)
        except ValueError:
            raise BadSetting(
                "EARNEST_TRUSTED_PROXIES",
                f"expected addresses or networks such as 10.0.0.0/8, not {proxy!r}",
            ) from None
    key_bytes = len(settings.secret_key)
    if settings.is_production and not settings.secret_key:
        raise BadSetting(
            "EARNEST_SECRET_KEY",
            f"production needs at least {SECRET_KEY_BYTES_MIN} bytes of it,"
            " for example from: openssl rand -base64 48",
        )
    if settings.secret_key and key_bytes < SECRET_KEY_BYTES_MIN:
        raise BadSetting(
            "EARNEST_SECRET_KEY",
            f"has {key_bytes} bytes, needs at least {SECRET_KEY_BYTES_MIN}",
        )
    if 0 < len(settings.metrics_token) < METRICS_TOKEN_CHARACTERS_MIN:
        raise BadSetting(
            "EARNEST_METRICS_TOKEN", f"needs at least {METRICS_TOKEN_CHARACTERS_MIN} characters"
        )
    if settings.is_production and settings.webhook_allow_private:
        raise BadSetting("EARNEST_WEBHOOK_ALLOW_PRIVATE", "is for the sandbox, not for production")
    if settings.sandbox_onboarding and (settings.is_production or settings.provider != "sandbox"):
        raise BadSetting(
            "EARNEST_SANDBOX_ONBOARDING",
            "is for the sandbox provider, not for Stripe or production",
        )
    if settings.migrate_database_url and not settings.database_url:
        raise BadSetting(
            "EARNEST_MIGRATE_DATABASE_URL", "means nothing without EARNEST_DATABASE_URL"
        )
    _check_stripe(settings)


def _check_stripe(settings: Settings) -> None:
    key = settings.stripe_secret_key
    if key and not key.startswith((*STRIPE_TEST_KEYS, *STRIPE_LIVE_KEYS)):
        raise BadSetting(
            "EARNEST_STRIPE_SECRET_KEY",
            "expected a secret key: sk_test_, rk_test_, sk_live_ or rk_live_ and what follows",
        )
    if key.startswith(STRIPE_LIVE_KEYS) and not settings.is_production:
        raise BadSetting(
            "EARNEST_STRIPE_SECRET_KEY",
            "is a live key: real money needs EARNEST_ENV=production",
        )
    if settings.is_production and settings.stripe_api_base.startswith("http://"):
        raise BadSetting("EARNEST_STRIPE_API_BASE", "needs https:// in production")
    if settings.provider == "stripe":
        for field in ("stripe_secret_key", "stripe_webhook_secret"):
            if not getattr(settings, field):
                raise BadSetting(variable_of(field), "is needed with EARNEST_PROVIDER=stripe")


def _meta(field: str) -> Meta:
    found: Meta = get_args(_TYPES[field])[1]
    return found


def settings_reference() -> str:
    """All settings as a Markdown table, for docs/reference/settings.md."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for field in msgspec.structs.fields(Settings):
        default = field.default
        shown = f"`{int(default) if isinstance(default, bool) else default}`"
        shown = "" if default in ("", b"", ()) else shown
        rows.append(f"| `{variable_of(field.name)}` | {shown} | {_meta(field.name).description} |")
    return "\n".join(rows) + "\n"
