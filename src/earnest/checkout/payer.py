"""The payer as one call (sandbox only): which of the provider's sessions a checkout token opens."""

from earnest.actions.checkout import CheckoutOver, find, open_session
from earnest.actions.core import Core
from earnest.checkout import arrival
from earnest.domain.payment import PAYABLE
from earnest.web.links import LinkExpired, LinkKind, Links, LinkUnknown


async def session_behind(core: Core, links: Links, public_url: str, name: str) -> str:
    """The session that `name`, a checkout token or a session's own id, leads to.

    A token opens one where there is none that can be paid, as the checkout page would. Raises
    CheckoutOver and what `open_session` raises.
    """
    try:
        link = links.peek(name)
    except LinkUnknown:
        return name
    if link.kind is not LinkKind.CHECKOUT:
        return name
    found = await find(core, link.business, link.subject)
    try:
        links.read(name, LinkKind.CHECKOUT, found.now)
    except LinkExpired:
        raise CheckoutOver from None
    payment = found.payment
    if found.contract.funded and payment is not None and payment.session_id is not None:
        return payment.session_id  # told again: the provider says whether that changes anything
    if payment is None or payment.state not in PAYABLE or payment.session_id is None:
        urls = arrival.urls(public_url, name)
        payment = await open_session(core, link.business, link.subject, urls)
    assert payment.session_id is not None
    return payment.session_id
