"""Where people want to be paid: their accounts at the provider, and the way through onboarding.

What the provider says of an account is kept, and asked for again whenever it matters and was not
good enough: a lost event about it costs nothing.
"""

from collections.abc import Callable

from earnest.actions.checkout_sessions import ProviderUnavailable
from earnest.actions.core import Core, keep_reply
from earnest.errors import InvalidField, ProviderError, ProviderPermanent, Unavailable
from earnest.providers.base import AccountRequest, OnboardingLink, PayoutAccount
from earnest.store import idempotency, payout_accounts
from earnest.store.idempotency import Once, Reply
from earnest.store.payout_accounts import Payee, Standing


class CountryRefused(InvalidField):
    """The payment provider does not pay out there."""

    def __init__(self) -> None:
        super().__init__("country", "must be one that the payment provider pays out in")


class AccountGone(Unavailable):
    """The payment provider does not know this payout account any more. Ask the operator."""


async def onboard(
    core: Core,
    payee: Payee,
    country: str,
    once: Once | None,
    render: Callable[[OnboardingLink], Reply],
    *,
    return_url: str,
    refresh_url: str,
) -> Reply:
    """A page of the provider's where the payee says who they are and where to pay.

    The reply is kept sealed: whoever has the link is taken for the payee. Raises CountryRefused,
    ProviderUnavailable, AccountGone.
    """
    if once is not None:
        async with core.pool.connection() as conn:
            stored = await idempotency.find(conn, once, core.sealer)
        if stored is not None:
            return stored
    standing = await _opened(core, payee, country)
    try:
        link = await core.provider.create_onboarding_link(
            standing.external_account or "", return_url=return_url, refresh_url=refresh_url
        )
    except ProviderPermanent as error:
        raise AccountGone from error
    except ProviderError as error:
        raise ProviderUnavailable from error
    return await keep_reply(core, once, render(link), core.sealer)


async def look(core: Core, payee: Payee, country: str | None) -> bool:
    """Whether the payee can be paid now, as the provider says; what it says is kept.

    A provider that needs no onboarding makes the account on the spot, if we know in which
    `country`. Raises ProviderUnavailable and CountryRefused.
    """
    async with core.pool.connection() as conn:
        standing = await payout_accounts.find(conn, payee, core.provider_account)
    if standing is None or standing.external_account is None:
        if core.provider.needs_onboarding or country is None:
            return False
        return (await _opened(core, payee, country)).is_payable
    try:
        found = await core.provider.find_account(standing.external_account)
    except ProviderError as error:
        raise ProviderUnavailable from error
    if found is None:
        return False
    await _keep(core, standing, found)
    return found.is_payable


async def _opened(core: Core, payee: Payee, country: str) -> Standing:
    """The payee's account, which the provider has made, now or before."""
    async with core.pool.connection() as conn, conn.transaction():
        standing = await payout_accounts.plan(conn, payee, core.provider_account, country)
    if standing.external_account is not None:
        return standing
    request = AccountRequest(
        reference=standing.public_id,
        email=standing.email,
        name=standing.name,
        country=standing.country,
        is_company=payee.party is None,
    )
    try:
        made = await core.provider.create_account(request)
    except ProviderPermanent as error:
        raise CountryRefused from error
    except ProviderError as error:
        raise ProviderUnavailable from error
    await _keep(core, standing, made)
    async with core.pool.connection() as conn:
        kept = await payout_accounts.find(conn, payee, core.provider_account)
    assert kept is not None
    return kept


async def _keep(core: Core, standing: Standing, told: PayoutAccount) -> None:
    async with core.pool.connection() as conn:
        await payout_accounts.record(
            conn, standing.public_id, told.id, is_payable=told.is_payable, lacks=told.lacks
        )
