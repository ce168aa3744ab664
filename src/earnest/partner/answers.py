"""What several routes of partners' contracts have in common: finding one, its link, showing it."""

from datetime import datetime

from earnest.actions.contracts import ContractNotFound
from earnest.domain.party import Role
from earnest.partner.binding import PartnerRequest
from earnest.partner.documents import CheckoutShown, shown
from earnest.partner.envelope import answer
from earnest.partner.shapes import contract_number
from earnest.store.accounts import require_active
from earnest.store.idempotency import Reply
from earnest.store.partners import Brokered, Wanted
from earnest.web.auth import actor, only
from earnest.web.instants import instant
from earnest.web.links import LinkKind, ends_at

PARTNER = only(Role.PARTNER)
PAGE_ENTRIES_MAX = 100


async def find(
    request: PartnerRequest, number: str, field: str = "contractId"
) -> tuple[Brokered, datetime]:
    """A contract of the caller's business, and business time.

    Raises InvalidContractId, ContractNotFound, and what `require_active` refuses.
    """
    caller = actor(request)
    wanted = Wanted(contract_number(number, field), caller)
    found = await request.app.state.core.partner_loads.contract(wanted)
    require_active(found.caller, caller)
    if found.brokered is None:
        raise ContractNotFound
    return found.brokered, found.now


def fresh_checkout(request: PartnerRequest, found: Brokered, now: datetime) -> CheckoutShown:
    """A link for the buyer that is good from now on."""
    contract = found.contract
    state = request.app.state
    token = state.links.issue(LinkKind.CHECKOUT, contract.business, contract.public_id, now)
    url = f"{state.settings.public_url.rstrip('/')}/checkout?token={token}"
    return CheckoutShown(url, token, instant(ends_at(now)))


def show_reply(request: PartnerRequest, found: Brokered, now: datetime, message: str) -> Reply:
    """The whole contract; with a fresh link as long as it can be paid."""
    checkout = fresh_checkout(request, found, now) if found.contract.payable else None
    return answer(shown(found, checkout), message)
