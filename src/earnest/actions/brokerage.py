"""What partners do with their contracts, one function per verb.

`number` is what the URL or the body said, already well-formed; `render` turns the contract as it
will be into the reply's bytes. All raise ContractNotFound, what the domain's verb refuses
(`earnest.domain.partner`, `earnest.domain.returning`), and what
`earnest.actions.core.carry_out` raises.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec

from earnest.actions.contracts import ContractNotFound
from earnest.actions.core import Core, carry_out, keep_reply
from earnest.domain import partner, returning, verbs
from earnest.domain.business import Business
from earnest.domain.change import Change
from earnest.domain.contract import Contract, Money
from earnest.domain.money import CURRENCIES, to_major
from earnest.domain.partner import Draft
from earnest.domain.party import Actor, Member
from earnest.domain.refund import RefundKind
from earnest.errors import InvalidField, Unauthenticated
from earnest.ids import Ids, new_platform_ref
from earnest.store import kyc
from earnest.store.accounts import require_active
from earnest.store.idempotency import Once, Reply, replay
from earnest.store.kyc import Known
from earnest.store.partners import (
    MONEY_MOVED,
    Brokered,
    FoundBrokered,
    FoundDraft,
    Moved,
    Name,
    Wanted,
    load_draft,
)

Render = Callable[[Brokered, datetime], Reply]
Decide = Callable[[Brokered, datetime, Ids], Change]


class Person(msgspec.Struct, frozen=True):
    """A buyer or a seller as a partner names them; `field` is how the request calls them."""

    field: str
    platform_ref: str | None
    phone: str | None
    first_name: str
    last_name: str


# -- create ---------------------------------------------------------------------------------------


async def create(
    core: Core,
    actor: Actor,
    buyer: Person,
    seller: Person,
    seller_told: Known,
    draft: Callable[[Business], Draft],
    once: Once | None,
    render: Callable[[Brokered, datetime], Reply],
) -> Reply:
    """A contract between two people, whoever of them is new being made in the same commit.

    `draft` reads the wanted terms with the business's currency and limits; it raises InvalidField.
    `seller_told`, what the partner knows of who the seller is, fills in the onboarding afterwards:
    it is no part of the contract, and is lost if this process dies in between.
    """
    people: list[Member] = []

    def decide(found: FoundDraft, ids: Ids) -> Change:
        if found.business is None:
            raise Unauthenticated
        wanted = draft(found.business)
        bought, is_new = resolve(
            buyer, found.buyer_by_ref, found.buyer_by_phone, found.business, found.now, ids
        )
        new = (bought,) if is_new else ()
        same = is_new and seller.platform_ref is None and seller.phone == bought.phone
        sold, is_new = resolve(
            seller,
            found.seller_by_ref,
            bought if same else found.seller_by_phone,
            found.business,
            found.now,
            ids,
        )
        new = (*new, sold) if is_new else new
        people[:] = (bought, sold)
        made = partner.create(wanted, found.business, bought, sold, new, actor, found.now, ids)
        assert made.contract is not None
        _require_payable(core, made.contract)
        return made

    def render_after(found: FoundDraft, change: Change) -> Reply:
        assert change.contract is not None
        assert found.business is not None
        made = Brokered(
            contract=change.contract,
            business=found.business,
            buyer=people[0],
            seller=people[1],
            payment=None,
            seller_verified=False,
            moved=(),
        )
        return render(made, found.now)

    reply = await carry_out(
        core,
        actor,
        once,
        lambda: load_draft(core.pool, actor, _name(buyer), _name(seller), once),
        decide,
        render_after,
    )
    if seller_told != Known() and people and not reply.replayed:
        async with core.pool.connection() as conn:
            await kyc.tell(conn, core.sealer, people[1].key, seller_told, "")
    return reply


def _require_payable(core: Core, contract: Contract) -> None:
    """Nobody is offered a contract that its buyer could not pay. Raises InvalidField."""
    if not core.provider.can_collect(contract.charge_minor, contract.currency):
        total = f"{to_major(contract.charge_minor, CURRENCIES[contract.currency])}"
        raise InvalidField(
            "amount",
            f"makes a total of {total} {contract.currency} with all fees, which the payment"
            " provider cannot charge",
        )


def _name(person: Person) -> Name:
    return Name(person.platform_ref, person.phone)


def resolve(
    person: Person,
    by_ref: Member | None,
    by_phone: Member | None,
    business: Business,
    now: datetime,
    ids: Ids,
) -> tuple[Member, bool]:
    """Who is meant, and whether they are new: by reference, else by phone, else made (E23).

    Raises InvalidField for a reference that the business does not know.
    """
    if person.platform_ref is not None:
        if by_ref is None:
            raise InvalidField(f"{person.field}.platformRefId", "is not known")
        return by_ref, False
    if by_phone is not None:
        return by_phone, False
    assert person.phone is not None
    key, public_id = ids.new_object(now)
    made = Member(
        key=key,
        public_id=public_id,
        business=business.key,
        platform_ref=new_platform_ref(key, now),
        phone=person.phone,
        first_name=person.first_name,
        last_name=person.last_name,
        created_at=now,
    )
    return made, True


# -- verbs ----------------------------------------------------------------------------------------


async def approve(
    core: Core, actor: Actor, number: str, reason: str, once: Once | None, render: Render
) -> Reply:
    """For the seller: pending -> approved."""

    def decide(found: Brokered, now: datetime, ids: Ids) -> Change:
        return verbs.approve(found.contract, found.business, actor, now, ids, reason=reason)

    return await _carry_out(core, actor, number, once, decide, render)


async def reject(
    core: Core, actor: Actor, number: str, reason: str, once: Once | None, render: Render
) -> Reply:
    """For the seller: pending -> rejected."""

    def decide(found: Brokered, now: datetime, ids: Ids) -> Change:
        return partner.reject(found.contract, actor, now, ids, reason)

    return await _carry_out(core, actor, number, once, decide, render)


async def deliver(
    core: Core, actor: Actor, number: str, reason: str, once: Once | None, render: Render
) -> Reply:
    """For the seller: the work is delivered."""

    def decide(found: Brokered, now: datetime, ids: Ids) -> Change:
        return partner.deliver(found.contract, actor, now, ids, reason)

    return await _carry_out(core, actor, number, once, decide, render)


async def receive(
    core: Core, actor: Actor, number: str, reason: str, once: Once | None, render: Render
) -> Reply:
    """For the buyer: the work is received."""

    def decide(found: Brokered, now: datetime, ids: Ids) -> Change:
        return partner.receive(found.contract, actor, now, ids, reason)

    return await _carry_out(core, actor, number, once, decide, render)


async def resolve_dispute(
    core: Core, actor: Actor, number: str, reason: str, once: Once | None, render: Render
) -> Reply:
    """For both: the dispute is over."""

    def decide(found: Brokered, now: datetime, ids: Ids) -> Change:
        return partner.resolve(found.contract, actor, now, ids, reason)

    return await _carry_out(core, actor, number, once, decide, render)


async def dispute(
    core: Core,
    actor: Actor,
    number: str,
    by: str,
    reason: str,
    once: Once | None,
    render: Render,
) -> Reply:
    """For the buyer or the seller: they disagree."""

    def decide(found: Brokered, now: datetime, ids: Ids) -> Change:
        return partner.dispute(found.contract, actor, now, ids, by=by, reason=reason)

    return await _carry_out(core, actor, number, once, decide, render)


async def cancel(
    core: Core,
    actor: Actor,
    number: str,
    by: str,
    reason: str,
    once: Once | None,
    render: Render,
) -> Reply:
    """For the buyer or the seller: the contract ends."""

    def decide(found: Brokered, now: datetime, ids: Ids) -> Change:
        return returning.cancel(
            found.contract, found.payment, actor, now, ids, by=by, reason=reason
        )

    return await _carry_out(core, actor, number, once, decide, render)


async def release(
    core: Core,
    actor: Actor,
    number: str,
    milestone: int | None,
    once: Once | None,
    render: Callable[[Brokered, Change], Reply],
) -> Reply:
    """The seller is paid: for one milestone, or all that is held."""

    def decide(found: Brokered, now: datetime, ids: Ids) -> Change:
        return partner.release(
            found.contract,
            found.business,
            actor,
            now,
            ids,
            milestone=milestone,
            seller_verified=found.seller_verified,
        )

    return await _carry_out_money(core, actor, number, once, decide, render)


async def refund(
    core: Core,
    actor: Actor,
    number: str,
    kind: RefundKind,
    milestone: int | None,
    amount_minor: Callable[[Business], int | None],
    reason: str,
    once: Once | None,
    render: Callable[[Brokered, Change], Reply],
) -> Reply:
    """The buyer gets money back; `amount_minor` reads the amount in the business's currency."""

    def decide(found: Brokered, now: datetime, ids: Ids) -> Change:
        return returning.request(
            found.contract,
            found.business,
            found.payment,
            actor,
            now,
            ids,
            kind=kind,
            milestone=milestone,
            amount_minor=amount_minor(found.business),
            reason=reason,
        )

    return await _carry_out_money(core, actor, number, once, decide, render)


async def renew_checkout(
    core: Core, actor: Actor, number: str, once: Once | None, render: Render
) -> Reply:
    """A fresh link for the buyer, which `render` makes or refuses: nothing else is written than
    the reply under its key."""
    found = await core.partner_loads.contract(Wanted(number, actor, once))
    require_active(found.caller, actor)
    if once is not None and found.stored is not None:
        return replay(found.stored, once)
    return await keep_reply(core, once, render(_brokered(found), found.now))


def released_tranches(before: Contract, after: Contract) -> list[int]:
    """The indexes of what a release has released."""
    return [
        index
        for index, state in enumerate(after.tranches)
        if state is Money.RELEASED and before.tranches[index] is not Money.RELEASED
    ]


# -- common ground --------------------------------------------------------------------------------


async def _carry_out(
    core: Core, actor: Actor, number: str, once: Once | None, decide: Decide, render: Render
) -> Reply:
    def decide_found(found: FoundBrokered, ids: Ids) -> Change:
        return decide(_brokered(found), found.now, ids)

    def render_after(found: FoundBrokered, change: Change) -> Reply:
        assert change.contract is not None
        before = _brokered(found)
        moved = tuple(
            Moved(event.key, event.type, event.recorded_at, event.body)
            for event in change.events
            if event.type in MONEY_MOVED
        )
        after = msgspec.structs.replace(
            before, contract=change.contract, moved=before.moved + moved
        )
        return render(after, found.now)

    wanted = Wanted(number, actor, once)
    return await carry_out(
        core, actor, once, lambda: core.partner_loads.contract(wanted), decide_found, render_after
    )


async def _carry_out_money(
    core: Core,
    actor: Actor,
    number: str,
    once: Once | None,
    decide: Decide,
    render: Callable[[Brokered, Change], Reply],
) -> Reply:
    wanted = Wanted(number, actor, once)
    return await carry_out(
        core,
        actor,
        once,
        lambda: core.partner_loads.contract(wanted),
        lambda found, ids: decide(_brokered(found), found.now, ids),
        lambda found, change: render(_brokered(found), change),
    )


def _brokered(found: FoundBrokered) -> Brokered:
    if found.brokered is None:
        raise ContractNotFound
    return found.brokered
