"""**Onboarding**: how a partner's member proves who they are, in four **steps**.

Who they are, questions, a one-time code to their phone, their bank account. Invariant: a step is
done because the KYC provider said yes after the one before it was done, never because of what a
partner or a browser says; no transaction is open while the provider is asked. Repeating a step
that is done changes nothing.
"""

import uuid
from collections.abc import Mapping, Sequence
from enum import StrEnum

import asyncpg
import msgspec

from earnest.actions.accounts import CodeExpired, WrongCode
from earnest.domain import identity
from earnest.domain.party import Member
from earnest.errors import InvalidField, ProviderError, Refused, Unavailable
from earnest.providers.kyc import KycProvider, Person, Question
from earnest.sealing import Sealer
from earnest.store import kyc, parties
from earnest.store.db import Pool
from earnest.store.kyc import Known, Progress
from earnest.store.limits import IDENTITY, IDENTITY_CODE, Charge, Limits

YES, NO = "yes", "no"


class Step(StrEnum):
    """What is to be done next."""

    PERSON = "person"
    QUESTIONS = "questions"
    CODE = "code"
    BANK_ACCOUNT = "bank_account"


class Desk(msgspec.Struct, frozen=True):
    """What these actions work with; built once per process by `earnest.app`.

    `provider` is None where no KYC provider is set up.
    """

    pool: Pool
    limits: Limits
    sealer: Sealer
    provider: KycProvider | None


class KycUnavailable(Unavailable):
    """Identities cannot be verified here right now. Try again later."""


class UnknownPerson(Refused):
    """The register knows nobody with this national id and these names."""


class ForeignAccount(Refused):
    """The bank says that this account is somebody else's."""


class CodeTooSoon(Refused):
    """A code was sent a moment ago: wait before you ask for another one."""


class CodeNotSent(Unavailable):
    """The code could not be sent. Ask for another one."""


def next_step(progress: Progress) -> Step | None:
    """What is to be done next; None when all is done."""
    if progress.identified_at is None:
        return Step.PERSON
    if progress.answered_at is None:
        return Step.QUESTIONS
    if progress.verified_at is None:
        return Step.CODE
    if progress.completed_at is None:
        return Step.BANK_ACCOUNT
    return None


async def introduce(
    conn: asyncpg.Connection,
    sealer: Sealer,
    business: int,
    *,
    phone: str,
    first_name: str,
    last_name: str,
    told: Known,
    callback_url: str,
) -> Member:
    """The member of `business` with this phone number, a new one if there is none; what was
    `told` of them fills gaps (E23). Within the caller's database transaction."""
    member = await parties.find_or_create(conn, business, phone, first_name, last_name)
    if told != Known() or callback_url:
        await kyc.tell(conn, sealer, member.key, told, callback_url)
    return member


# -- the steps ----------------------------------------------------------------------------------


async def identify(
    desk: Desk, member: Member, *, first_name: str, last_name: str, national_id: str, born: str
) -> None:
    """Who they are. What is left empty is what the partner told us, if it did.

    Raises InvalidField (`firstName`, `lastName`, `nationalId`, `dateOfBirth`), UnknownPerson,
    KycUnavailable, TooMany.
    """
    async with desk.pool.connection() as conn:
        known = await kyc.known(conn, desk.sealer, member.key)
        today = (await kyc.progress(conn, member.key)).now.date()
    claimed = msgspec.structs.replace(
        known,
        first_name=identity.person_name(first_name, "firstName"),
        last_name=identity.person_name(last_name, "lastName", required=False),
        national_id=identity.national_id(national_id.strip() or known.national_id, "nationalId"),
        born=identity.birthday(born, "dateOfBirth", today) if born.strip() else known.born,
    )
    provider = _provider(desk)
    await desk.limits.charge(Charge(IDENTITY, (member.public_id,)))
    try:
        is_known = await provider.knows(_person(member, claimed))
    except ProviderError:
        raise KycUnavailable from None
    if not is_known:
        raise UnknownPerson
    async with desk.pool.connection() as conn:
        await kyc.identify(conn, desk.sealer, member.key, claimed)


async def questions(desk: Desk, language: str) -> Sequence[Question]:
    """What everybody has to answer, in `language`. Raises KycUnavailable."""
    try:
        return await _provider(desk).questions(language)
    except ProviderError:
        raise KycUnavailable from None


async def answer(desk: Desk, member: Member, answers: Mapping[str, str]) -> None:
    """The questions, answered with YES or NO each.

    Raises InvalidField naming the first question without an answer, KycUnavailable.
    """
    asked = await questions(desk, "en")
    for question in asked:
        if answers.get(question.name) not in (YES, NO):
            raise InvalidField(question.name, "must be answered with yes or no")
    said = {question.name: answers[question.name] == YES for question in asked}
    async with desk.pool.connection() as conn:
        await kyc.answer(conn, desk.sealer, member.key, said)


async def send_code(desk: Desk, member: Member) -> None:
    """Let the provider send a code to the member's phone; the one before is void.

    Raises CodeTooSoon within two minutes of the last one, CodeNotSent, KycUnavailable, TooMany.
    """
    provider = _provider(desk)
    async with desk.limits.charged(Charge(IDENTITY_CODE, (member.public_id,))):
        async with desk.pool.connection() as conn:
            reference = await kyc.ask_for_code(conn, member.key)
            known = await kyc.known(conn, desk.sealer, member.key)
        if reference is None:
            raise CodeTooSoon
        try:
            await provider.send_code(str(reference), _person(member, known))
        except ProviderError:
            async with desk.pool.connection() as conn:
                await kyc.forget_code(conn, member.key, reference)
            raise CodeNotSent from None


async def check_code(desk: Desk, member: Member, code: str) -> None:
    """The code that was sent. Raises WrongCode, CodeExpired, also after five wrong ones,
    KycUnavailable."""
    provider = _provider(desk)
    async with desk.pool.connection() as conn:
        reference = await kyc.take_a_try(conn, member.key)
    if reference is None:
        raise CodeExpired
    if not await _is_code(desk, provider, member, reference, code):
        raise WrongCode
    async with desk.pool.connection() as conn:
        await kyc.verify(conn, member.key, reference)


async def add_bank_account(desk: Desk, member: Member, *, iban: str, bic: str) -> None:
    """Where they are paid, the last step. What is left empty is what the partner told us.

    Raises InvalidField (`iBAN`, `bIC`), ForeignAccount, KycUnavailable, TooMany.
    """
    async with desk.pool.connection() as conn:
        known = await kyc.known(conn, desk.sealer, member.key)
    wanted = identity.iban(iban.strip() or known.iban, "iBAN")
    of = identity.bic(bic.strip() or known.bic, "bIC")
    provider = _provider(desk)
    await desk.limits.charge(Charge(IDENTITY, (member.public_id,)))
    try:
        is_theirs = await provider.owns(_person(member, known), wanted, of)
    except ProviderError:
        raise KycUnavailable from None
    if not is_theirs:
        raise ForeignAccount
    async with desk.pool.connection() as conn, conn.transaction():
        await kyc.complete(conn, desk.sealer, member, wanted, of)


async def _is_code(
    desk: Desk, provider: KycProvider, member: Member, reference: uuid.UUID, code: str
) -> bool:
    try:
        return await provider.is_code(str(reference), code)
    except ProviderError:
        async with desk.pool.connection() as conn:
            await kyc.give_try_back(conn, member.key, reference)
        raise KycUnavailable from None


def _provider(desk: Desk) -> KycProvider:
    if desk.provider is None:
        raise KycUnavailable
    return desk.provider


def _person(member: Member, known: Known) -> Person:
    return Person(known.national_id, known.first_name, known.last_name, member.phone, known.born)
