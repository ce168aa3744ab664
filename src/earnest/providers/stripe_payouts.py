"""Paying people with Stripe Connect: accounts, onboarding links, transfers, payouts.

Money takes two steps: a **transfer** from our balance to a connected account, a **payout** from
there to its bank; a transfer is **returned** by reversing it. Invariant: our id is in the metadata
of whatever is made, and each kind of call has idempotency keys of its own, since to Stripe a key is
one request to one address.
"""

import logging
import re
from datetime import UTC, datetime, timedelta

import msgspec
import stripe
from stripe.params import AccountCreateParams

from earnest.errors import (
    ProviderError,
    ProviderKeyReused,
    ProviderPermanent,
    ProviderUnknown,
)
from earnest.providers.base import (
    AccountRequest,
    OnboardingLink,
    PayoutAccount,
    PayoutRequest,
    ProviderPayout,
    ProviderPayoutState,
    ProviderTransfer,
    ReturnRequest,
    TransferRequest,
)
from earnest.providers.sandbox_rules import origin
from earnest.providers.stripe_line import StripeCaller, answered, code_of, read
from earnest.providers.stripe_units import from_stripe, to_stripe, to_stripe_payout

PAGE_OBJECTS = 100
ACCOUNT_KEYS_MAX = 5
LACKS_MAX = 20

log = logging.getLogger(__name__)

_ACCOUNT_ID = re.compile(r"acct_[A-Za-z0-9_]{1,250}")
_TRANSFER_ID = re.compile(r"tr_[A-Za-z0-9_]{1,250}")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,200}")


class _Requirements(msgspec.Struct, frozen=True):
    currently_due: list[str] | None = None
    disabled_reason: str | None = None


class _Account(msgspec.Struct, frozen=True):
    """The parts of a connected account that we act upon."""

    id: str
    metadata: dict[str, str] | None = None
    payouts_enabled: bool = False
    capabilities: dict[str, str] = {}
    requirements: _Requirements | None = None
    deleted: bool = False


class _Link(msgspec.Struct, frozen=True):
    url: str
    expires_at: int


class _Transfer(msgspec.Struct, frozen=True):
    id: str
    livemode: bool
    amount: int
    amount_reversed: int
    currency: str
    metadata: dict[str, str] | None


class _Reversal(msgspec.Struct, frozen=True):
    id: str
    amount: int
    currency: str


class _Payout(msgspec.Struct, frozen=True):
    id: str
    livemode: bool
    amount: int
    currency: str
    status: str
    failure_code: str | None
    metadata: dict[str, str] | None


class StripePayouts(StripeCaller):
    """The part of the provider that pays people."""

    @property
    def needs_onboarding(self) -> bool:
        """See `Provider.needs_onboarding`."""
        return True

    # -- accounts -------------------------------------------------------------------------------

    async def create_account(self, request: AccountRequest) -> PayoutAccount:
        """See `Provider.create_account`.

        The reference is the key, then the reference with a number: Stripe keeps to its first answer
        for a day, also when that was a failure of its own or was given to another request about the
        same person. So whenever that may be, our account is looked for among all.
        """
        if not request.reference:
            raise ProviderPermanent("An account needs a reference.")
        params = _account_params(request)
        for attempt in range(1, ACCOUNT_KEYS_MAX):
            try:
                return await self._open_account(params, _numbered(request.reference, attempt))
            except ProviderKeyReused:
                pass
            except ProviderError as error:
                if not error.was_repeated:
                    raise
            found = await self._search_account(request.reference)
            if found is not None:
                return found
        return await self._open_account(params, _numbered(request.reference, ACCOUNT_KEYS_MAX))

    async def _open_account(self, params: AccountCreateParams, key: str) -> PayoutAccount:
        async with answered():
            made = await self._client.v1.accounts.create_async(params, {"idempotency_key": key})
            return _account(read(made, _Account))

    async def _search_account(self, reference: str) -> PayoutAccount | None:
        async with answered():
            page = await self._client.v1.accounts.list_async({"limit": PAGE_OBJECTS})
            async for answer in page.auto_paging_iter():
                found = read(answer, _Account)
                if (found.metadata or {}).get("partyId") == reference:
                    return _account(found)
        return None

    async def find_account(self, account_id: str) -> PayoutAccount | None:
        """See `Provider.find_account`."""
        if not _ACCOUNT_ID.fullmatch(account_id):
            return None
        async with answered():
            try:
                answer = await self._client.v1.accounts.retrieve_async(account_id)
            except stripe.StripeError as error:
                if code_of(error) in ("resource_missing", "account_invalid"):
                    return None
                raise
            found = read(answer, _Account)
        return None if found.deleted else _account(found)

    async def create_onboarding_link(
        self, account_id: str, *, return_url: str, refresh_url: str
    ) -> OnboardingLink:
        """See `Provider.create_onboarding_link`."""
        if not _ACCOUNT_ID.fullmatch(account_id):
            raise ProviderPermanent("There is no such account.")
        if origin(return_url) is None or origin(refresh_url) is None:
            raise ProviderPermanent("return_url and refresh_url must be http or https URLs.")
        ahead = timedelta(seconds=await self._clock_ahead_seconds())
        async with answered():
            answer = await self._client.v1.account_links.create_async(
                {
                    "account": account_id,
                    "type": "account_onboarding",
                    "return_url": return_url,
                    "refresh_url": refresh_url,
                }
            )
            made = read(answer, _Link)
            return OnboardingLink(made.url, datetime.fromtimestamp(made.expires_at, UTC) + ahead)

    # -- transfers ------------------------------------------------------------------------------

    async def create_transfer(self, request: TransferRequest) -> ProviderTransfer:
        """See `Provider.create_transfer`. What could not be paid out is not transferred either."""
        amount = to_stripe_payout(request.amount_minor, request.currency)
        if amount <= 0 or not _ACCOUNT_ID.fullmatch(request.account_id):
            raise ProviderPermanent("There is nothing to send, or nobody to send it to.")
        async with answered():
            answer = await self._client.v1.transfers.create_async(
                {
                    "amount": amount,
                    "currency": request.currency.lower(),
                    "destination": request.account_id,
                    "transfer_group": request.reference,
                    "metadata": {"payoutId": request.reference},
                },
                {"idempotency_key": f"{request.idempotency_key}.transfer"},
            )
            return self._ours(read(answer, _Transfer), request)

    async def find_transfer(self, request: TransferRequest) -> ProviderTransfer | None:
        """See `Provider.find_transfer`."""
        if not request.reference:
            return None
        async with answered():
            page = await self._client.v1.transfers.list_async(
                {"transfer_group": request.reference, "limit": PAGE_OBJECTS}
            )
            async for answer in page.auto_paging_iter():
                found = read(answer, _Transfer)
                if (found.metadata or {}).get("payoutId") == request.reference:
                    return self._ours(found, request)
        return None

    async def return_transfer(self, request: ReturnRequest) -> ProviderTransfer:
        """See `Provider.return_transfer`. Stripe refuses to reverse what was reversed: so the
        transfer is looked at before, and after a refusal."""
        found = await self._look_at(request)
        if found.returned_minor == found.amount_minor:
            return found
        try:
            async with answered():
                answer = await self._client.v1.transfers.reversals.create_async(
                    request.transfer_id,
                    {
                        "amount": to_stripe(request.amount_minor, request.currency),
                        "metadata": {"payoutId": request.reference},
                    },
                    {"idempotency_key": f"{request.idempotency_key}.return"},
                )
                read(answer, _Reversal)
        except ProviderPermanent:
            again = await self._look_at(request)
            if again.returned_minor != again.amount_minor:
                raise
            return again
        return msgspec.structs.replace(found, returned_minor=found.amount_minor)

    async def _look_at(self, request: ReturnRequest) -> ProviderTransfer:
        if not _TRANSFER_ID.fullmatch(request.transfer_id):
            raise ProviderPermanent("There is no such transfer.")
        async with answered():
            answer = await self._client.v1.transfers.retrieve_async(request.transfer_id)
            transfer = read(answer, _Transfer)
            found = _transfer(transfer)
        self._require_mode(transfer.livemode)
        if (found.amount_minor, found.currency) != (request.amount_minor, request.currency):
            raise ProviderPermanent("This transfer is of another amount.")
        return found

    def _ours(self, transfer: _Transfer, request: TransferRequest) -> ProviderTransfer:
        """Raises ProviderUnknown if it is of another amount or mode."""
        found = _transfer(transfer)
        self._require_ours(transfer.livemode, found, request)
        return found

    def _require_ours(
        self,
        livemode: bool,
        found: ProviderTransfer | ProviderPayout,
        asked: TransferRequest | PayoutRequest,
    ) -> None:
        """Raise ProviderUnknown for what is of our reference and nothing else of ours. It is no
        refusal: after one, the money would go back to the wallet, and here some may be gone."""
        told = (found.amount_minor, found.currency)
        if livemode is not self._livemode or told != (asked.amount_minor, asked.currency):
            log.error("what Stripe has by a payout's reference is of another amount or mode")
            raise ProviderUnknown("What Stripe has by this reference is of another amount or mode.")

    # -- payouts --------------------------------------------------------------------------------

    async def create_payout(self, request: PayoutRequest) -> ProviderPayout:
        """See `Provider.create_payout`."""
        amount = to_stripe_payout(request.amount_minor, request.currency)
        if amount <= 0 or not _ACCOUNT_ID.fullmatch(request.account_id):
            raise ProviderPermanent("There is nothing to pay out, or nobody to pay it to.")
        async with answered():
            answer = await self._client.v1.payouts.create_async(
                {
                    "amount": amount,
                    "currency": request.currency.lower(),
                    "metadata": {"payoutId": request.reference},
                },
                {
                    "idempotency_key": f"{request.idempotency_key}.payout",
                    "stripe_account": request.account_id,
                },
            )
            return self._payout(read(answer, _Payout), request)

    async def find_payout(self, request: PayoutRequest) -> ProviderPayout | None:
        """See `Provider.find_payout`: every payout of the account is looked at, newest first."""
        if not request.reference or not _ACCOUNT_ID.fullmatch(request.account_id):
            return None
        async with answered():
            try:
                page = await self._client.v1.payouts.list_async(
                    {"limit": PAGE_OBJECTS}, {"stripe_account": request.account_id}
                )
            except stripe.StripeError as error:
                if code_of(error) == "account_invalid":
                    return None
                raise
            async for answer in page.auto_paging_iter():
                found = read(answer, _Payout)
                if (found.metadata or {}).get("payoutId") == request.reference:
                    return self._payout(found, request)
        return None

    def _payout(self, payout: _Payout, request: PayoutRequest) -> ProviderPayout:
        """Raises KeyError for a status that is none, ProviderUnknown as `_ours` does."""
        state = _STATES[payout.status]
        currency = payout.currency.upper()
        amount_minor = from_stripe(payout.amount, currency)
        failure = ""
        if state is ProviderPayoutState.FAILED:
            code = payout.failure_code or payout.status
            failure = code if _WORD.fullmatch(code) else payout.status
        found = ProviderPayout(payout.id, state, amount_minor, currency, failure)
        self._require_ours(payout.livemode, found, request)
        return found


_STATES = {
    "pending": ProviderPayoutState.PENDING,
    "in_transit": ProviderPayoutState.PENDING,
    "paid": ProviderPayoutState.PAID,
    "failed": ProviderPayoutState.FAILED,
    "canceled": ProviderPayoutState.FAILED,
}


def _transfer(transfer: _Transfer) -> ProviderTransfer:
    currency = transfer.currency.upper()
    amount_minor = from_stripe(transfer.amount, currency)
    returned_minor = from_stripe(transfer.amount_reversed, currency)
    return ProviderTransfer(transfer.id, amount_minor, currency, returned_minor)


def _numbered(reference: str, attempt: int) -> str:
    return reference if attempt == 1 else f"{reference}.{attempt}"


def _account_params(request: AccountRequest) -> AccountCreateParams:
    """We collect the fees and bear the losses, Stripe asks people who they are, and nothing is paid
    out but what we pay out."""
    params: AccountCreateParams = {
        "controller": {
            "fees": {"payer": "application"},
            "losses": {"payments": "application"},
            "requirement_collection": "stripe",
            "stripe_dashboard": {"type": "express"},
        },
        "capabilities": {"transfers": {"requested": True}},
        "settings": {"payouts": {"schedule": {"interval": "manual"}}},
        "country": request.country,
        "business_type": "company" if request.is_company else "individual",
        "metadata": {"partyId": request.reference},
    }
    if request.email:
        params["email"] = request.email
    if request.name:
        params["business_profile"] = {"name": request.name}
    return params


def _account(account: _Account) -> PayoutAccount:
    is_payable = account.payouts_enabled and account.capabilities.get("transfers") == "active"
    wanted = account.requirements or _Requirements()
    told = [*(wanted.currently_due or ()), *([wanted.disabled_reason or ""] * (not is_payable))]
    lacks = tuple(dict.fromkeys(word for word in told if _WORD.fullmatch(word)))[:LACKS_MAX]
    return PayoutAccount(account.id, is_payable, lacks)
