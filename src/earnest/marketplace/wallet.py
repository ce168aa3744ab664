"""Wallets: what a client or freelancer has, where it came from, and earnings by month."""

from typing import Annotated, Any

import msgspec
from litestar import Router, get
from litestar.params import FromPath

from earnest.domain.money import CURRENCIES, to_number
from earnest.domain.party import Actor, Role
from earnest.domain.people import UserNotFound
from earnest.errors import Forbidden, NotFound
from earnest.ids import PublicId, entry_id, key_of, parse_public_id
from earnest.ledger.accounts import wallet
from earnest.marketplace.documents import wallet_id
from earnest.marketplace.shapes import ContractNumber, Direction, Id
from earnest.store import accounts, books, provider_objects
from earnest.store.books import Entry
from earnest.store.provider_objects import Behind
from earnest.web.auth import SIGNED_IN, signed_in
from earnest.web.guard import EarnestRequest
from earnest.web.instants import instant
from earnest.web.shapes import Instant, Major

_INR = CURRENCIES["INR"]
ENTRIES_MAX = 1_000

DESCRIPTIONS = {
    ("released", True): "Contract payment",
    ("refunded", True): "Contract refund",
    ("parked_refunded", True): "Payment refund",
    ("withdrawn", False): "Withdrawal",
    ("payout_refused", True): "Withdrawal returned",
    ("payout_returned", True): "Withdrawal returned",
    ("charged_back", False): "Chargeback",
    ("chargeback_returned", True): "Chargeback returned",
}
PARTIAL = "Partial payment for canceled contract"


class WalletNotFound(NotFound):
    """Wallet not found"""


class WalletEntry(msgspec.Struct):
    """One credit or debit; `amount` in major units, always positive. `reference` is the provider's
    id of what is behind it: of a withdrawal the payout there (the transfer as long as there is no
    payout, and where it came back), of a chargeback the dispute, of a payment that came back the
    payment; null where nothing is. `payoutId` names the withdrawal, of `/wallet/withdraw`."""

    id: Id = msgspec.field(name="_id")
    amount: Major
    description: str
    type: Direction
    date: Instant
    contractId: ContractNumber | None  # noqa: N815
    reference: str | None
    payoutId: Id | None  # noqa: N815


class NamedEntry(WalletEntry):
    """With the client of the contract that it came from."""

    clientName: str | None = None  # noqa: N815


class WalletDocument(msgspec.Struct):
    id: Id = msgspec.field(name="_id")
    userId: Id  # noqa: N815
    balance: Major
    transactions: list[WalletEntry]
    createdAt: Instant  # noqa: N815
    updatedAt: Instant  # noqa: N815
    isDeleted: bool = False  # noqa: N815


class WalletOrNull(msgspec.Struct):
    success: bool
    data: WalletDocument | None


class WalletEntries(msgspec.Struct):
    success: bool
    count: int
    data: list[NamedEntry]


class Month(msgspec.Struct):
    """`month` is YYYY-MM in UTC."""

    month: Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{4}-[0-9]{2}\Z")]
    totalRevenue: Major  # noqa: N815
    totalTransactions: int  # noqa: N815


class Months(msgspec.Struct):
    data: list[Month]


@get("/earnings/{user_id:str}", refuses=(Forbidden, UserNotFound))
async def earnings(request: EarnestRequest, user_id: FromPath[str]) -> WalletOrNull:
    """A wallet with its newest 1,000 entries, newest first; null until the first credit."""
    caller = await signed_in(request)
    owner = parse_public_id(user_id, "userId")
    async with request.app.state.pool.connection() as conn:
        await _owner_or_admin(conn, caller, owner)
        account = wallet("INR", key_of(owner))
        opened_at = await books.opened_at(conn, account)
        entries = await books.statement(conn, account, ENTRIES_MAX)
        behind = await provider_objects.behind(conn, entries)
        balance_minor = await books.balance(conn, account)
    if opened_at is None:
        return WalletOrNull(success=True, data=None)
    return WalletOrNull(
        success=True,
        data=WalletDocument(
            id=wallet_id(owner),
            userId=owner,
            balance=to_number(balance_minor, _INR),
            transactions=[WalletEntry(**_entry(entry, behind)) for entry in entries],
            createdAt=instant(opened_at),
            updatedAt=instant(entries[0].recorded_at),
        ),
    )


@get(
    "/transactions/{id:str}",
    refuses=(Forbidden, WalletNotFound),
    operation_id="wallet_transactions",
)
async def transactions(
    request: EarnestRequest,
    id: FromPath[str],  # noqa: A002
) -> WalletEntries:
    """A wallet's newest 1,000 entries, newest first (D15)."""
    caller = await signed_in(request)
    wanted = parse_public_id(id, "walletId")
    async with request.app.state.pool.connection() as conn:
        owner = await accounts.find_party(conn, key_of(wanted))
        known = owner is not None and wallet_id(owner) == wanted
        await _owner_or_admin(conn, caller, owner if known else None, WalletNotFound)
        assert owner is not None
        entries = await books.statement(conn, wallet("INR", key_of(owner)), ENTRIES_MAX)
        behind = await provider_objects.behind(conn, entries)
    shown = [NamedEntry(**_entry(entry, behind), clientName=entry.buyer_name) for entry in entries]
    return WalletEntries(success=True, count=len(shown), data=shown)


@get(
    "/user-sales-report/{user_id:str}",
    refuses=(Forbidden, UserNotFound),
    operation_id="wallet_sales_report",
)
async def sales_report(request: EarnestRequest, user_id: FromPath[str]) -> Months:
    """What came in, by month, oldest first."""
    caller = await signed_in(request)
    owner = parse_public_id(user_id, "userId")
    async with request.app.state.pool.connection() as conn:
        await _owner_or_admin(conn, caller, owner)
        months = await books.earned_by_month(conn, wallet("INR", key_of(owner)))
    return Months(
        [
            Month(month, to_number(total_minor, _INR), entries)
            for month, total_minor, entries in months
        ]
    )


def _entry(entry: Entry, behind: dict[int, Behind]) -> dict[str, Any]:
    at_provider = behind.get(entry.key, Behind())
    is_partial = entry.movement == "refunded" and entry.credit and not entry.to_buyer
    description = DESCRIPTIONS.get((entry.movement, entry.credit), entry.movement)
    return {
        "id": entry_id(entry.key, entry.recorded_at),
        "amount": to_number(entry.amount_minor, _INR),
        "description": PARTIAL if is_partial else description,
        "type": "credit" if entry.credit else "debit",
        "date": instant(entry.recorded_at),
        "contractId": entry.contract_number,
        "reference": at_provider.reference,
        "payoutId": at_provider.payout,
    }


async def _owner_or_admin(
    conn: Any,
    caller: Actor,
    owner: PublicId | None,
    unknown: type[NotFound] = UserNotFound,
) -> None:
    """Only its owner and admins look into a wallet; unknown is 404, foreign 403 (D19)."""
    if owner is None or await accounts.find_party(conn, key_of(owner)) != owner:
        raise unknown
    if caller.role is not Role.ADMIN and caller.public_id != owner:
        raise Forbidden


router = Router(
    "/api/freelancer/wallet",
    route_handlers=[earnings, transactions, sales_report],
    opt={"access": SIGNED_IN},
    tags=["Wallets"],
)
