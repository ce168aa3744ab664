"""`earnest business`: partners, made and changed by the operator of this machine.

Invariant: what can be said here is what the admin API takes (`domain.partner_settings.Wanted`),
checked in the same place; a refusal names the option. Secrets are printed once.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

import asyncpg
from cyclopts import App, Parameter

from earnest.database import opened, pooled
from earnest.domain import partner_settings
from earnest.domain.money import CURRENCIES
from earnest.domain.partner_settings import Wanted
from earnest.errors import InvalidField
from earnest.store import businesses
from earnest.store.accounts import SETUP
from earnest.store.businesses import Credentials, Partner, Status
from earnest.store.contracts import Page
from earnest.store.db import Pool
from earnest.terminal import AsJson, Data, answer, say, settings_of

business_app = App(name="business", help="Partners, who escrow their customers' money by API.")

Result = TypeVar("Result")

BusinessId = Annotated[str, Parameter(help="its business id, as create and list show it")]
Rate = Annotated[int | None, Parameter(help="basis points, 0 to 10000")]
Payer = Annotated[str | None, Parameter(help="buyer (on top), seller (out of it) or split")]
Amount = Annotated[str | None, Parameter(help="in major units: 12.50")]
Cap = Annotated[str | None, Parameter(help="in major units: 12.50; none for no maximum")]
Kept = Annotated[
    int | None,
    Parameter(help="of the seller's earning that is theirs when work had come to this, in bps"),
]
PayoutMinimum = Annotated[
    str | None, Parameter(help="the least that is paid out at once, in major units: 1.00")
]
PayoutSchedule = Annotated[
    str | None,
    Parameter(help="manual: who asks is paid; daily, weekly or monthly (UTC): everybody is"),
]


@Parameter(name="*")
@dataclass(frozen=True)
class Terms:
    """The options that say by what rules a partner works; what is left out stays as it is."""

    escrow_fee_bps: Rate = None
    escrow_fee_payer: Payer = None
    escrow_fee_minimum: Amount = None
    escrow_fee_maximum: Cap = None
    platform_fee_bps: Rate = None
    platform_fee_payer: Payer = None
    platform_fee_minimum: Amount = None
    platform_fee_maximum: Cap = None
    tax_bps: Annotated[int | None, Parameter(help="of both fees, in basis points")] = None
    cancellation_not_started_bps: Kept = None
    cancellation_started_bps: Kept = None
    cancellation_ongoing_bps: Kept = None
    cancellation_delivered_bps: Kept = None
    retention_bps: Annotated[
        int | None, Parameter(help="of what a partial refund leaves the seller, in basis points")
    ] = None
    require_kyc: Annotated[
        bool | None, Parameter(help="release only to sellers whose identity was verified")
    ] = None
    refund_approval: Annotated[
        str | None, Parameter(help="automatic, or admin: one of ours agrees to each")
    ] = None
    release_needs_approval: Annotated[
        bool | None, Parameter(help="release only what the seller has approved")
    ] = None
    callback_hosts: Annotated[
        tuple[str, ...] | None,
        Parameter(
            name="--callback-host",
            negative="--any-callback-host",
            help="where buyers may be sent back to; may be repeated",
        ),
    ] = None
    amount_maximum: Annotated[
        str | None, Parameter(help="of one contract, in major units: 999999.99")
    ] = None
    payout_minimum: PayoutMinimum = None
    payout_schedule: PayoutSchedule = None


@business_app.command
def create(
    *,
    name: str,
    currency: str = businesses.DEFAULT_CURRENCY,
    terms: Terms | None = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make a partner, with the client id and secret that it gets its tokens with.

    Parameters
    ----------
    name
        as its buyers see it
    currency
        ISO 4217; it can never be changed
    """
    wanted = _wanted(terms, name=name, currency=currency)
    made = _change(data, lambda conn: businesses.create(conn, wanted, SETUP), is_new=True)
    _answer_secret(made, as_json, f"{made.partner.business.name} is a partner now.")


@business_app.command(name="list")
def list_all(*, data: Data = None, as_json: AsJson = False) -> None:
    """All partners, newest first."""
    found = _change(data, lambda conn: businesses.every(conn, Page(limit=100_000)))
    documents = [_document(partner) for partner in found.partners]
    wide = "{:<36}  {:<27}  {:<3}  {:<8} {}"
    lines = [wide.format("business", "client", "", "status", "name")]
    lines += [
        wide.format(*(one[key] for key in ("business_id", "client_id", "currency", "status")),
                    one["name"])
        for one in documents
    ]  # fmt: skip
    answer(documents, as_json, lines)


@business_app.command(name="set")
def change(
    business_id: BusinessId,
    *,
    name: str | None = None,
    terms: Terms | None = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Change a partner's name or rules, for contracts that are created from now on.

    Parameters
    ----------
    name
        as its buyers see it
    """
    wanted, found = _wanted(terms, name=name), _business_id(business_id)
    changed = _change(data, lambda conn: businesses.change(conn, found, wanted, SETUP))
    document = _document(changed)
    answer(document, as_json, [f"{key}: {_shown(value)}" for key, value in document.items()])


@business_app.command
def marketplace(
    *,
    payout_minimum: PayoutMinimum = None,
    payout_schedule: PayoutSchedule = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Say when clients and freelancers of the marketplace are paid out; without an option, show it.

    It is the built-in business: its other rules are what they are.
    """
    terms = Terms(payout_minimum=payout_minimum, payout_schedule=payout_schedule)
    wanted = _wanted(terms)
    changed = _change(data, lambda conn: businesses.change_marketplace(conn, wanted, SETUP))
    settings = partner_settings.payouts_written(changed.settings, CURRENCIES[changed.currency])
    document = _options({"name": changed.name, "currency": changed.currency, **settings})
    answer(document, as_json, [f"{key}: {_shown(value)}" for key, value in document.items()])


@business_app.command
def rotate_secret(business_id: BusinessId, *, data: Data = None, as_json: AsJson = False) -> None:
    """Make another secret; the old one and all tokens it was given for are void at once."""
    found = _business_id(business_id)
    made = _change(data, lambda conn: businesses.rotate_secret(conn, found, SETUP))
    _answer_secret(made, as_json, "The old secret is void.")


@business_app.command
def block(business_id: BusinessId, *, data: Data = None, as_json: AsJson = False) -> None:
    """Keep a partner out, from its next request on; its contracts and its money stay."""
    _set_status(business_id, "Blocked", data, as_json)


@business_app.command
def unblock(business_id: BusinessId, *, data: Data = None, as_json: AsJson = False) -> None:
    """Let a partner in again."""
    _set_status(business_id, "Active", data, as_json)


# -- what is wanted ---------------------------------------------------------------------------


def _wanted(terms: Terms | None, **others: str | None) -> Wanted:
    given: dict[str, Any] = {**asdict(terms or Terms()), **others}
    given = {name: value for name, value in given.items() if value is not None}
    for name in _AMOUNTS & set(given):
        given[name] = _amount(name, given[name])
    if "callback_hosts" in given:
        given["callback_hosts"] = list(given["callback_hosts"])
    return Wanted(**given)


_AMOUNTS = {
    "escrow_fee_minimum",
    "escrow_fee_maximum",
    "platform_fee_minimum",
    "platform_fee_maximum",
    "amount_maximum",
    "payout_minimum",
}
_DECIMAL = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,6})?")


def _amount(name: str, text: str) -> Decimal | None:
    if text == "none" and name.endswith("fee_maximum"):
        return None
    if not _DECIMAL.fullmatch(text):
        raise InvalidField(f"--{name.replace('_', '-')}", "must be an amount such as 12.50")
    return Decimal(text)


def _business_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidField("business id", "must be a UUID, as create and list show it") from None


def _change(
    data: Path | None,
    work: Callable[[asyncpg.Connection], Awaitable[Result]],
    *,
    is_new: bool = False,
) -> Result:
    """What `work` returns, in one database transaction. Raises InvalidField naming an option."""

    async def use(pool: Pool) -> Result:
        async with pool.connection() as conn, conn.transaction():
            return await work(conn)

    with opened(settings_of(data), say, create=is_new) as database:
        try:
            return asyncio.run(pooled(database.settings, use))
        except InvalidField as error:
            raise InvalidField(_option(error.field), error.expected) from None


def _option(field: str) -> str:
    """callbackHosts[1] -> --callback-host"""
    name = _snake(field.partition("[")[0]).replace("_", "-")
    return f"--{name.replace('callback-hosts', 'callback-host')}"


def _snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", name)


# -- what is answered -------------------------------------------------------------------------


def _set_status(business_id: str, status: Status, data: Path | None, as_json: bool) -> None:
    found = _business_id(business_id)
    changed = _change(data, lambda conn: businesses.set_status(conn, found, status, SETUP))
    answer(
        {"business_id": str(changed.public_id), "status": changed.status},
        as_json,
        [f"{changed.business.name} is {changed.status.lower()} now."],
    )


def _answer_secret(made: Credentials, as_json: bool, headline: str) -> None:
    found = {
        "business_id": str(made.partner.public_id),
        "client_id": made.partner.client_id,
        "client_secret": made.secret,
    }
    lines = [headline, *(f"{name}: {value}" for name, value in found.items())]
    answer(found, as_json, [*lines, "The secret is not shown again."])


def _document(partner: Partner) -> dict[str, Any]:
    """A partner in the words of the options."""
    return {
        "business_id": str(partner.public_id),
        "status": partner.status,
        "created_at": partner.created_at.isoformat(),
        **_options(businesses.described(partner)),
    }


def _options(described: dict[str, Any]) -> dict[str, Any]:
    """Settings in the words of the options, as the command line takes them."""
    settings = {_snake(name): value for name, value in described.items()}
    for name in _AMOUNTS & set(settings):
        settings[name] = None if settings[name] is None else str(settings[name])
    return settings


def _shown(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(value) or "any"
        case _:
            return str(value)
