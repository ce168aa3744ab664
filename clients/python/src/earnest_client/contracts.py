"""The calls about contracts, their money, and the people in them.

Amounts are in major units of the business's currency: Decimal or int, never float. Whatever
changes something takes an `idempotency_key`; without one it gets a new one for this call.
"""

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec

from earnest_client.calls import Call, ask, bare, exact, instant, segment, tell
from earnest_client.documents import (
    CheckoutStarted,
    Contract,
    ContractMade,
    ContractPage,
    JwkSet,
    Metadata,
    Onboarding,
    Proof,
    Refund,
    Release,
    TrailPage,
    User,
)

CONTRACTS = "/apps/api/contracts"
PAGE_ENTRIES = 100

ServiceType = Literal["product", "service"]
By = Literal["buyer", "seller"]


class Person(msgspec.Struct, frozen=True):
    """A buyer or seller by their phone: digits with the country code, no plus. Who is known by it
    keeps the names that are stored."""

    phone_number: str
    first_name: str
    last_name: str = ""


class Kyc(msgspec.Struct, frozen=True):
    """What you know of who a seller is: it fills in their onboarding, and is never answered."""

    identity: str | None = None
    iban_number: str | None = None
    bic_code: str | None = None
    date_of_birth: date | None = None


class NewMilestone(msgspec.Struct, frozen=True):
    """A part of a contract to be; `amount` is of the base, `due_date` has a time zone."""

    name: str
    amount: Decimal | int
    due_date: datetime
    description: str = ""


def create_contract(
    *,
    title: str,
    service_type: ServiceType,
    buyer: Person | str,
    seller: Person | str,
    amount: Decimal | int,
    seller_kyc: Kyc | None = None,
    milestones: Sequence[NewMilestone] = (),
    description: str | None = None,
    notes: str | None = None,
    reference: str | None = None,
    callback_url: str | None = None,
    metadata: Metadata | None = None,
    idempotency_key: str | None = None,
) -> Call[ContractMade]:
    """A contract between two people, each a Person or a platformRefId. Milestones, at least two,
    sum to `amount`. The buyer pays at `checkout.url` of the answer, within ten minutes."""
    body = {
        "title": title,
        "contractServiceType": service_type,
        "BuyerParty": _party(buyer),
        "SellerParty": _party(seller) | _kyc(seller_kyc),
        "amount": exact(amount, "amount"),
        "description": description,
        "notes": notes,
        "reference": reference,
        "callbackUrl": callback_url,
        "metaData": metadata,
        "Milestones": [
            {
                "Name": one.name,
                "Description": one.description,
                "Amount": exact(one.amount, f"milestones[{index}].amount"),
                "DueDate": instant(one.due_date, f"milestones[{index}].due_date"),
            }
            for index, one in enumerate(milestones)
        ]
        or None,
    }
    return tell(CONTRACTS, ContractMade, body, idempotency_key)


def get_contract(contract_id: str) -> Call[Contract]:
    """All of a contract."""
    return ask(_path(contract_id), Contract)


def list_contracts(
    *, status: str | None = None, page: int = 1, page_size: int = PAGE_ENTRIES
) -> Call[ContractPage]:
    """Your contracts, newest first; those with a status such as `escrow`, or all."""
    return ask(CONTRACTS, ContractPage, status=status, page=page, pageSize=page_size)


def list_events(
    contract_id: str, *, page: int = 1, page_size: int = PAGE_ENTRIES
) -> Call[TrailPage]:
    """What happened to a contract, oldest first, with the hash chain that proves it."""
    return ask(f"{_path(contract_id)}/events", TrailPage, page=page, pageSize=page_size)


def get_proof(contract_id: str) -> Call[Proof]:
    """Where all of a contract's money is, from the transfers of the ledger."""
    return ask(f"{_path(contract_id)}/proof", Proof)


# -- verbs ------------------------------------------------------------------------------------


def approve(
    contract_id: str, *, reason: str | None = None, idempotency_key: str | None = None
) -> Call[Contract]:
    """For the seller: agreed."""
    return _act(contract_id, "approve", {"reason": reason}, idempotency_key)


def reject(
    contract_id: str, *, reason: str | None = None, idempotency_key: str | None = None
) -> Call[Contract]:
    """For the seller: not agreed. Before it is paid."""
    return _act(contract_id, "reject", {"reason": reason}, idempotency_key)


def deliver(
    contract_id: str, *, reason: str | None = None, idempotency_key: str | None = None
) -> Call[Contract]:
    """For the seller: the work is delivered."""
    return _act(contract_id, "deliver", {"reason": reason}, idempotency_key)


def receive(
    contract_id: str, *, reason: str | None = None, idempotency_key: str | None = None
) -> Call[Contract]:
    """For the buyer: the work is received."""
    return _act(contract_id, "receive", {"reason": reason}, idempotency_key)


def dispute(
    contract_id: str, *, by: By, reason: str | None = None, idempotency_key: str | None = None
) -> Call[Contract]:
    """For one of the two: they disagree, and nothing is released meanwhile."""
    return _act(contract_id, "dispute", {"by": by, "reason": reason}, idempotency_key)


def resolve_dispute(
    contract_id: str, *, reason: str | None = None, idempotency_key: str | None = None
) -> Call[Contract]:
    """They agree again."""
    return _act(contract_id, "resolve-dispute", {"reason": reason}, idempotency_key)


def cancel(
    contract_id: str, *, by: By, reason: str | None = None, idempotency_key: str | None = None
) -> Call[Contract]:
    """For one of the two: it ends, and money goes back by the business's policy."""
    return _act(contract_id, "cancel", {"by": by, "reason": reason}, idempotency_key)


# -- money ------------------------------------------------------------------------------------


def start_checkout(
    contract_id: str, *, buyer_phone_number: str, idempotency_key: str | None = None
) -> Call[CheckoutStarted]:
    """A fresh link for the buyer, good for ten minutes."""
    body = {"externalContractId": contract_id, "buyerPhoneNumber": buyer_phone_number}
    return tell(f"{CONTRACTS}/checkout", CheckoutStarted, body, idempotency_key)


def release(
    contract_id: str, *, milestone_id: int | None = None, idempotency_key: str | None = None
) -> Call[Release]:
    """To the seller: all that is held, or one milestone's."""
    body = {"contractId": contract_id, "milestoneId": milestone_id}
    return tell(f"{CONTRACTS}/release", Release, body, idempotency_key)


def refund(
    contract_id: str,
    *,
    reason: str,
    amount: Decimal | int | None = None,
    milestone_id: int | None = None,
    idempotency_key: str | None = None,
) -> Call[Refund]:
    """To the buyer: the whole base, or with `amount` that part of it, and the rest to the seller.
    Of a contract with milestones a part is refunded of one of them."""
    body = {
        "type": "FULL" if amount is None else "PARTIAL",
        "amount": None if amount is None else exact(amount, "amount"),
        "milestoneId": milestone_id,
        "reason": reason,
    }
    return tell(f"{_path(contract_id)}/refund", Refund, body, idempotency_key)


# -- users, keys ------------------------------------------------------------------------------


def create_user(
    *,
    phone_number: str,
    first_name: str,
    last_name: str = "",
    national_id: str | None = None,
    iban: str | None = None,
    bic: str | None = None,
    date_of_birth: date | None = None,
    callback_url: str | None = None,
    idempotency_key: str | None = None,
) -> Call[User]:
    """A user of yours, and the page on which they prove who they are. What is left out they are
    asked for there. A number that is known is the same user."""
    body = {
        "phoneNumber": phone_number,
        "firstName": first_name,
        "lastName": last_name,
        "nationalId": national_id,
        "iBAN": iban,
        "bIC": bic,
        "dateOfBirth": _day(date_of_birth),
        "callbackUrl": callback_url,
    }
    return tell("/apps/api/user", User, body, idempotency_key)


def get_onboarding(phone_number: str) -> Call[Onboarding]:
    """How far a user has come in proving who they are."""
    return ask("/apps/api/user/onboarding", Onboarding, phoneNumber=phone_number)


def get_keys() -> Call[JwkSet]:
    """The server's public keys, for `verify_return`. They change every few months: ask again for
    one that you do not have, and keep them for five minutes or so."""
    path = "/.well-known/jwks.json"
    return Call(method="GET", path=path, read=bare(JwkSet), is_public=True)


def _path(contract_id: str) -> str:
    return f"{CONTRACTS}/{segment(contract_id)}"


def _act(contract_id: str, verb: str, body: dict[str, Any], key: str | None) -> Call[Contract]:
    return tell(f"{_path(contract_id)}/{verb}", Contract, body, key)


def _party(who: Person | str) -> dict[str, Any]:
    if isinstance(who, str):
        return {"platformRefId": who}
    return {
        "phoneNumber": who.phone_number,
        "firstName": who.first_name,
        "lastName": who.last_name,
    }


def _kyc(known: Kyc | None) -> dict[str, Any]:
    if known is None:
        return {}
    sent = {
        "identity": known.identity,
        "iBANNumber": known.iban_number,
        "bICCode": known.bic_code,
        "dateOfBirth": _day(known.date_of_birth),
    }
    return {"KYC": {name: text for name, text in sent.items() if text is not None}}


def _day(day: date | None) -> str | None:
    return None if day is None else day.strftime("%Y-%m-%d")
