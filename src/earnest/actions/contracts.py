"""What people do with a contract, one function per verb.

`contract` and `path_...` are what the URL said, already well-formed; `render` turns the contract
as it will be into the reply's bytes. All raise ContractNotFound, what the domain's verb refuses
(`earnest.domain.verbs`), and what `earnest.actions.core.carry_out` raises.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec

from earnest.actions.core import Core, carry_out
from earnest.domain import verbs
from earnest.domain.business import Business
from earnest.domain.change import Change
from earnest.domain.contract import Contract
from earnest.domain.party import Actor, Role
from earnest.domain.projection import marketplace_status
from earnest.errors import Forbidden, NotFound
from earnest.ids import Ids, PublicId
from earnest.store.contracts import Asked, Documented, Found
from earnest.store.idempotency import Once, Reply
from earnest.store.provider_objects import Captured

Render = Callable[[Documented], Reply]
RenderEscrow = Callable[[Documented, Captured | None], Reply]
Decide = Callable[[Documented, Business, datetime, Ids], Change]


class ContractNotFound(NotFound):
    """Contract not found"""


class NotTheirContract(Forbidden):
    """This contract belongs to somebody else."""


async def approve(
    core: Core,
    actor: Actor,
    contract: PublicId,
    path_freelancer: PublicId,
    once: Once | None,
    render: Render,
) -> Reply:
    """The freelancer accepts the contract (C7)."""

    def decide(found: Documented, business: Business, now: datetime, ids: Ids) -> Change:
        if found.seller.public_id != path_freelancer:
            raise NotTheirContract
        return verbs.approve(found.contract, business, actor, now, ids)

    return await _carry_out(core, actor, contract, once, decide, render)


async def update_status(
    core: Core,
    actor: Actor,
    contract: PublicId,
    wanted: str,
    once: Once | None,
    render: Render,
) -> Reply:
    """The freelancer names the next status (C10)."""

    def decide(found: Documented, business: Business, now: datetime, ids: Ids) -> Change:
        shown = marketplace_status(found.contract)
        return verbs.update_status(
            found.contract, business, actor, now, ids, shown=shown, wanted=wanted
        )

    return await _carry_out(core, actor, contract, once, decide, render)


async def cancel(
    core: Core, actor: Actor, contract: PublicId, once: Once | None, render: Render
) -> Reply:
    """Either party ends the contract (C2)."""

    def decide(found: Documented, _: Business, now: datetime, ids: Ids) -> Change:
        return verbs.cancel(found.contract, actor, now, ids)

    return await _carry_out(core, actor, contract, once, decide, render)


async def request_release(
    core: Core, actor: Actor, contract: PublicId, once: Once | None, render: Render
) -> Reply:
    """The client asks for the release of the funds (C6)."""

    def decide(found: Documented, _: Business, now: datetime, ids: Ids) -> Change:
        return verbs.request_release(found.contract, actor, now, ids)

    return await _carry_out(core, actor, contract, once, decide, render)


async def approve_release(
    core: Core, actor: Actor, contract: PublicId, once: Once | None, render: RenderEscrow
) -> Reply:
    """An admin releases the funds (spec 3.1)."""

    def decide(found: Documented, business: Business, now: datetime, ids: Ids) -> Change:
        return verbs.approve_release(found.contract, business, actor, now, ids)

    return await _settle(core, actor, contract, once, decide, render)


async def refund(
    core: Core,
    actor: Actor,
    contract: PublicId,
    path_client: PublicId,
    reason: str,
    description: str,
    once: Once | None,
    render: RenderEscrow,
) -> Reply:
    """An admin refunds; a client asks for it, or gets it where the business says so (D6)."""

    def decide(found: Documented, business: Business, now: datetime, ids: Ids) -> Change:
        if found.buyer.public_id != path_client:
            raise NotTheirContract
        asking = actor.role is Role.CLIENT
        if asking and business.settings.refund_approval != "automatic":
            return verbs.request_refund(
                found.contract, actor, now, ids, reason=reason, description=description
            )
        return verbs.approve_refund(
            found.contract,
            actor,
            now,
            ids,
            reason=reason,
            description=description,
            by_policy=asking,
        )

    return await _settle(core, actor, contract, once, decide, render)


async def _settle(
    core: Core,
    actor: Actor,
    contract: PublicId,
    once: Once | None,
    decide: Decide,
    render: RenderEscrow,
) -> Reply:
    """As any other verb, with what paid for the contract in its reply."""
    asked = Asked(contract, actor, once)
    return await _run(core, asked, lambda: core.loads.paid_contract(asked), decide, render)


async def _carry_out(
    core: Core,
    actor: Actor,
    contract: PublicId,
    once: Once | None,
    decide: Decide,
    render: Render,
) -> Reply:
    asked = Asked(contract, actor, once)
    return await _run(
        core,
        asked,
        lambda: core.loads.contract(asked),
        decide,
        lambda documented, _paid: render(documented),
    )


async def _run(
    core: Core,
    asked: Asked,
    load: Callable[[], Awaitable[Found]],
    decide: Decide,
    render: RenderEscrow,
) -> Reply:
    assert asked.caller is not None

    def decide_found(found: Found, ids: Ids) -> Change:
        if found.documented is None or found.business is None:
            raise ContractNotFound
        return decide(found.documented, found.business, found.now, ids)

    def render_after(found: Found, change: Change) -> Reply:
        assert found.documented is not None
        return render(with_contract(found.documented, change.contract), found.paid)

    return await carry_out(core, asked.caller, asked.once, load, decide_found, render_after)


def with_contract(documented: Documented, contract: Contract | None) -> Documented:
    """The same people and job around the contract as the change leaves it."""
    assert contract is not None
    return msgspec.structs.replace(documented, contract=contract)
