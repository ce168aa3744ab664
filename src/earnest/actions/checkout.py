"""The buyer's side of a partner's contract: the session in which the buyer pays for it.

There is no login behind it: a link says which contract (`earnest.web.links`), and whoever has it
may pay. Invariant: a contract has at most one session that can be paid (E18, invariant 12).
"""

from datetime import datetime

from earnest.actions.checkout_sessions import OthersAsk, Urls, ask, give_way, is_over, opened
from earnest.actions.contracts import ContractNotFound
from earnest.actions.core import ATTEMPTS_MAX, Core
from earnest.domain.change import Change
from earnest.domain.hiring import payment_change
from earnest.domain.party import SYSTEM
from earnest.domain.payment import PAYABLE, Payment, PaymentState, checkout_metadata
from earnest.errors import Conflict, Refused
from earnest.ids import Ids, PublicId
from earnest.store import checkouts
from earnest.store.checkouts import FoundCheckout
from earnest.store.commit import Commit

SESSION_SECONDS = 3_600


class NotPayable(Refused):
    """This contract cannot be paid now."""


class CheckoutOver(Refused):
    """This checkout link has expired: ask for a new one."""


class BuyerNotVerified(Refused):
    """The buyer's identity is not verified yet."""


async def find(core: Core, business: int, contract: PublicId) -> FoundCheckout:
    """A contract as its checkout shows it. Raises ContractNotFound."""
    async with core.pool.connection() as conn:
        found = await checkouts.load(conn, business, contract)
    if found is None:
        raise ContractNotFound
    return found


async def open_session(core: Core, business: int, contract: PublicId, urls: Urls) -> Payment:
    """The contract's open session, or a new one: the same for everyone who asks meanwhile.

    Raises ContractNotFound, NotPayable, BuyerNotVerified, ProviderUnavailable, ProviderRefused,
    Conflict.
    """
    for turn in range(ATTEMPTS_MAX):
        found = await find(core, business, contract)
        require_payable(found)
        payment = found.payment
        if payment is None or payment.state not in PAYABLE:
            ids = await core.keys.ids()
            wanted = begin(found, core.provider_account, found.now, ids)
            if not await core.door.commit(Commit(wanted)):
                continue
            assert wanted.payment is not None
            payment = wanted.payment
        if await is_over(core, SYSTEM, payment, found.now):
            continue
        if payment.state is not PaymentState.OPENING:
            return payment
        try:
            session = await ask(
                core,
                SYSTEM,
                payment,
                found.now,
                title=found.contract.terms.title,
                metadata=payment.metadata,
                urls=urls,
                expires_in_seconds=SESSION_SECONDS,
            )
        except OthersAsk:
            await give_way(core, SYSTEM, payment, found.now, turn)
            continue
        change = opened(payment, session, SYSTEM, found.now, await core.keys.ids())
        assert change.payment is not None
        if await core.door.commit(Commit(change)):
            return change.payment
    raise Conflict


def require_payable(found: FoundCheckout) -> None:
    """Raises NotPayable, BuyerNotVerified."""
    if not found.contract.payable:
        raise NotPayable
    if found.business.settings.require_kyc and not found.buyer_verified:
        raise BuyerNotVerified


def begin(found: FoundCheckout, provider_account: int, now: datetime, ids: Ids) -> Change:
    """The payment of the contract's whole charge, before the provider knows of it."""
    contract = found.contract
    key, public_id = ids.new_object(now)
    payment = Payment(
        key=key,
        public_id=public_id,
        business=contract.business,
        job=None,
        buyer=contract.buyer,
        seller=contract.seller,
        provider_account=provider_account,
        amount_minor=contract.charge_minor,
        currency=contract.currency,
        metadata=checkout_metadata(
            public_id,
            {"contractId": contract.number},
            found.buyer.public_id,
            found.seller.public_id,
        ),
        created_at=now,
        version=0,
        commit_id=0,
        updated_at=now,
        contract=contract.key,
    )
    return payment_change(payment, "payment.opening", SYSTEM, now, ids, {})
