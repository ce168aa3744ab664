"""**KYC** rows: who a member is, and which of the four steps of proving it are done.

Invariants: what identifies a person or an account leaves this module only towards the database
and sealed (`earnest.sealing`), each value for the row and the column that it stands in. A step is
taken once, after the one before it; a code is compared CODE_TRIES_MAX times at most, because a
try is taken before the comparison. Business time.
"""

import uuid
from collections.abc import Mapping
from datetime import date, datetime, timedelta

import asyncpg
import msgspec

from earnest.domain.audit import canonical
from earnest.domain.party import SYSTEM, Member
from earnest.sealing import Sealer
from earnest.store.accounts import INSERT_EVENT

CODE_SECONDS = 5 * 60
RESEND_SECONDS = 2 * 60
CODE_TRIES_MAX = 5
PARTY_VERIFIED = "party.verified"


class Known(msgspec.Struct, frozen=True):
    """What is known of a person; empty or None is unknown. `answers` are by question."""

    national_id: str = ""
    first_name: str = ""
    last_name: str = ""
    born: date | None = None
    iban: str = ""
    bic: str = ""
    answers: dict[str, bool] = {}


class Progress(msgspec.Struct, frozen=True):
    """Which steps are done, and since when; `now` is when this was read."""

    now: datetime
    callback_url: str = ""
    code_reference: uuid.UUID | None = None
    code_sent_at: datetime | None = None
    code_tries_left: int = 0
    identified_at: datetime | None = None
    answered_at: datetime | None = None
    verified_at: datetime | None = None
    bank_account_at: datetime | None = None
    completed_at: datetime | None = None

    @property
    def has_code(self) -> bool:
        """Whether there is a code that may still be typed."""
        return (
            self.code_sent_at is not None
            and self.code_tries_left > 0
            and self.now < self.code_sent_at + timedelta(seconds=CODE_SECONDS)
        )

    @property
    def resend_seconds(self) -> int:
        """How long until another code may be asked for; 0: now."""
        if self.code_sent_at is None:
            return 0
        left = self.code_sent_at + timedelta(seconds=RESEND_SECONDS) - self.now
        return max(0, -(-left // timedelta(seconds=1)))


PROGRESS = """
SELECT
    business_now() AS now,
    coalesce(k.callback_url, '') AS callback_url,
    k.code_reference,
    k.code_sent_at,
    coalesce(k.code_tries_left, 0) AS code_tries_left,
    k.identified_at,
    k.answered_at,
    k.verified_at,
    k.bank_account_at,
    k.completed_at
FROM (SELECT $1::bigint AS id) AS q
LEFT JOIN kyc AS k ON k.party_id = q.id
"""

KNOWN = """
SELECT national_id, first_name, last_name, date_of_birth, iban, bic, answers
FROM kyc
WHERE party_id = $1
"""

# What a partner says of its member fills gaps; what is there stays, and so does what was checked.
TELL = """
INSERT INTO kyc AS k (
    party_id, national_id, date_of_birth, iban, bic, callback_url, created_at, updated_at
) VALUES ($1, $2, $3, $4, $5, $6, business_now(), business_now())
ON CONFLICT (party_id) DO UPDATE SET
    national_id = coalesce(k.national_id, excluded.national_id),
    date_of_birth = CASE
        WHEN k.identified_at IS NULL THEN coalesce(k.date_of_birth, excluded.date_of_birth)
        ELSE k.date_of_birth
    END,
    iban = coalesce(k.iban, excluded.iban),
    bic = coalesce(k.bic, excluded.bic),
    callback_url = coalesce(nullif(excluded.callback_url, ''), k.callback_url),
    updated_at = excluded.updated_at
"""

IDENTIFY = """
INSERT INTO kyc AS k (
    party_id, national_id, date_of_birth, first_name, last_name, identified_at, created_at,
    updated_at
) VALUES ($1, $2, $3, $4, $5, business_now(), business_now(), business_now())
ON CONFLICT (party_id) DO UPDATE SET
    national_id = excluded.national_id,
    date_of_birth = excluded.date_of_birth,
    first_name = excluded.first_name,
    last_name = excluded.last_name,
    identified_at = excluded.identified_at,
    updated_at = excluded.updated_at
WHERE k.identified_at IS NULL
"""

ANSWER = """
UPDATE kyc SET answers = $2, answered_at = business_now(), updated_at = business_now()
WHERE party_id = $1 AND identified_at IS NOT NULL AND answered_at IS NULL
"""

ASK_FOR_CODE = """
UPDATE kyc SET
    code_reference = $2,
    code_sent_at = business_now(),
    code_tries_left = $3,
    updated_at = business_now()
WHERE party_id = $1 AND answered_at IS NOT NULL AND verified_at IS NULL
AND (code_sent_at IS NULL OR code_sent_at <= business_now() - make_interval(secs => $4))
RETURNING TRUE
"""

FORGET_CODE = """
UPDATE kyc SET code_reference = NULL, code_sent_at = NULL, code_tries_left = 0
WHERE party_id = $1 AND code_reference = $2
"""

TAKE_A_TRY = """
UPDATE kyc SET code_tries_left = code_tries_left - 1
WHERE party_id = $1 AND verified_at IS NULL AND code_tries_left > 0
AND code_sent_at > business_now() - make_interval(secs => $2)
RETURNING code_reference
"""

GIVE_TRY_BACK = """
UPDATE kyc SET code_tries_left = code_tries_left + 1
WHERE party_id = $1 AND code_reference = $2 AND code_tries_left < $3
"""

VERIFY = """
UPDATE kyc SET
    verified_at = business_now(),
    code_reference = NULL,
    code_sent_at = NULL,
    code_tries_left = 0,
    updated_at = business_now()
WHERE party_id = $1 AND code_reference = $2 AND verified_at IS NULL
"""

COMPLETE = """
UPDATE kyc SET
    iban = $2,
    bic = $3,
    bank_account_at = business_now(),
    completed_at = business_now(),
    updated_at = business_now()
WHERE party_id = $1 AND verified_at IS NOT NULL AND bank_account_at IS NULL
RETURNING completed_at
"""


async def progress(conn: asyncpg.Connection, party: int) -> Progress:
    """How far the party with this key has come."""
    row = await conn.fetchrow(PROGRESS, party)
    assert row is not None
    return Progress(**row)


async def known(conn: asyncpg.Connection, sealer: Sealer, party: int) -> Known:
    """What is known of a party. Raises SealBroken."""
    row = await conn.fetchrow(KNOWN, party)
    if row is None:
        return Known()

    def opened(column: str) -> str:
        sealed = row[column]
        return "" if sealed is None else sealer.open(sealed, _about(party, column)).decode()

    born, answers = opened("date_of_birth"), opened("answers")
    return Known(
        national_id=opened("national_id"),
        first_name=opened("first_name"),
        last_name=opened("last_name"),
        born=date.fromisoformat(born) if born else None,
        iban=opened("iban"),
        bic=opened("bic"),
        answers=msgspec.json.decode(answers, type=dict[str, bool]) if answers else {},
    )


async def tell(
    conn: asyncpg.Connection, sealer: Sealer, party: int, told: Known, callback_url: str
) -> None:
    """Keep what a partner says of its member, as far as that is not known yet.

    The names are the party's own; `callback_url` is where its member is led back to from now on,
    empty for where that was before.
    """
    seal = _Seal(sealer, party)
    await conn.execute(
        TELL,
        party,
        seal("national_id", told.national_id),
        seal("date_of_birth", told.born.isoformat() if told.born else ""),
        seal("iban", told.iban),
        seal("bic", told.bic),
        callback_url,
    )


async def identify(conn: asyncpg.Connection, sealer: Sealer, party: int, person: Known) -> None:
    """The first step is done: who they are. Nothing happens if it was done before."""
    seal = _Seal(sealer, party)
    await conn.execute(
        IDENTIFY,
        party,
        seal("national_id", person.national_id),
        seal("date_of_birth", person.born.isoformat() if person.born else ""),
        sealer.seal(person.first_name.encode(), _about(party, "first_name")),
        sealer.seal(person.last_name.encode(), _about(party, "last_name")),
    )


async def answer(
    conn: asyncpg.Connection, sealer: Sealer, party: int, answers: Mapping[str, bool]
) -> None:
    """The second step is done: the questions. Nothing happens if it was done before."""
    sealed = sealer.seal(msgspec.json.encode(answers), _about(party, "answers"))
    await conn.execute(ANSWER, party, sealed)


async def ask_for_code(conn: asyncpg.Connection, party: int) -> uuid.UUID | None:
    """The reference of a new code that the caller now lets the provider send; the one before is
    void. None while the last one is younger than RESEND_SECONDS, or when it is no longer needed."""
    reference = uuid.uuid4()
    asked = await conn.fetchval(ASK_FOR_CODE, party, reference, CODE_TRIES_MAX, RESEND_SECONDS)
    return reference if asked else None


async def forget_code(conn: asyncpg.Connection, party: int, reference: uuid.UUID) -> None:
    """That code was not sent: another one may be asked for at once."""
    await conn.execute(FORGET_CODE, party, reference)


async def take_a_try(conn: asyncpg.Connection, party: int) -> uuid.UUID | None:
    """Use up one try; the reference of the code, None when it expired or has no tries left."""
    reference: uuid.UUID | None = await conn.fetchval(TAKE_A_TRY, party, CODE_SECONDS)
    return reference


async def give_try_back(conn: asyncpg.Connection, party: int, reference: uuid.UUID) -> None:
    """The try that `take_a_try` took did not come to anything."""
    await conn.execute(GIVE_TRY_BACK, party, reference, CODE_TRIES_MAX)


async def verify(conn: asyncpg.Connection, party: int, reference: uuid.UUID) -> None:
    """The third step is done: the code. Nothing happens if there is another code by now."""
    await conn.execute(VERIFY, party, reference)


async def complete(
    conn: asyncpg.Connection, sealer: Sealer, member: Member, iban: str, bic: str
) -> None:
    """The last step is done, the bank account, and so is everything: the audit trail says so.

    Within the caller's database transaction. Nothing happens if it was done before.
    """
    seal = _Seal(sealer, member.key)
    at = await conn.fetchval(COMPLETE, member.key, seal("iban", iban), seal("bic", bic))
    if at is not None:
        subject = f"party:{member.public_id}"
        await conn.execute(INSERT_EVENT, subject, PARTY_VERIFIED, SYSTEM.name, at, canonical({}))


class _Seal:
    """Seals what is known of one party, column by column; what is empty is NULL."""

    def __init__(self, sealer: Sealer, party: int) -> None:
        self._sealer = sealer
        self._party = party

    def __call__(self, column: str, text: str) -> bytes | None:
        if not text:
            return None
        return self._sealer.seal(text.encode(), _about(self._party, column))


def _about(party: int, column: str) -> str:
    return f"kyc:{party}:{column}"
