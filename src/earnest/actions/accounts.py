"""Accounts: register, verify, sign in. What a caller may learn is the same for every address.

Invariant: the account is made from what `register` stored, after the code that was mailed to
that address came back; an administrator is made by `create_admin` only.
"""

import hmac
import re
import secrets

from earnest.actions.passwords import Passwords, check_rule
from earnest.domain.party import Role
from earnest.errors import Forbidden, InvalidField, NotFound, Refused
from earnest.ids import PublicId
from earnest.store import accounts, mail
from earnest.store.accounts import Login, Registration
from earnest.store.db import Pool
from earnest.store.mail import Letter

CODE_DIGITS = 6
TYPING_SECONDS = 30
"""A code that has less than this to live when it could be mailed would only come too late."""
NOTICE_SECONDS = 24 * 3600
EMAIL_CHARACTERS_MAX = 254
_EMAIL = re.compile(
    r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)

WRONG_LOGIN = "Invalid password or email"
WRONG_CODE = "The code is not correct"
NO_CODE = "The code has expired, ask for a new one"


def canonical_email(email: str, field: str = "email") -> str:
    """The one spelling of an address that tells accounts apart: ASCII, lower case.

    Look-alikes and folding cannot make two accounts of one address or one of two, because an
    address outside ASCII is refused (a domain may be written in its xn-- form).
    Raises InvalidField.
    """
    lowered = email.lower() if email.isascii() else ""
    if len(lowered) > EMAIL_CHARACTERS_MAX or not _EMAIL.fullmatch(lowered):
        raise InvalidField(field, "must be an e-mail address in ASCII")
    if len(lowered.rpartition("@")[0]) > 64:
        raise InvalidField(field, "must be an e-mail address in ASCII")
    return lowered


async def register(
    pool: Pool,
    passwords: Passwords,
    code_key: bytes,
    *,
    name: str,
    email: str,
    password: str,
    role: Role,
) -> None:
    """Mail a code to `email`; whoever has an account there already is told so by the same way.

    Raises InvalidField, or Forbidden for the role admin.
    """
    if role is Role.ADMIN:
        raise Forbidden
    canonical = canonical_email(email)
    check_rule(password)
    password_hash = await passwords.hash(password)
    code = _new_code()
    wanted = Registration(
        email, canonical, name, role, password_hash, _code_hash(code_key, canonical, code)
    )
    async with pool.connection() as conn, conn.transaction():
        if await accounts.exists(conn, canonical):
            await mail.queue(conn, _letter_already_there(email, canonical))
        else:
            await accounts.register(conn, wanted)
            await mail.queue(conn, _letter_with_code(email, canonical, code))


async def resend_code(pool: Pool, code_key: bytes, *, email: str) -> None:
    """Mail a new code, if somebody waits for one. The old code is void."""
    canonical = canonical_email(email)
    code = _new_code()
    async with pool.connection() as conn, conn.transaction():
        address = await accounts.replace_code(
            conn, canonical, _code_hash(code_key, canonical, code)
        )
        if address is not None:
            await mail.queue(conn, _letter_with_code(address, canonical, code))


async def verify(
    pool: Pool,
    passwords: Passwords,
    code_key: bytes,
    *,
    email: str,
    code: str,
    name: str | None,
    stated_email: str | None,
    password: str,
    role: str | None,
) -> PublicId:
    """Make the account whose code this is; the other arguments must say what `register` said.

    Raises Refused for a code that is wrong, expired or used up, InvalidField for anything that
    differs from the registration, Conflict when the address got an account meanwhile.
    """
    canonical = canonical_email(email)
    async with pool.connection() as conn:
        found = await accounts.take_a_try(conn, canonical)
    if found is None:
        raise Refused(NO_CODE)
    if not hmac.compare_digest(found.code_hash, _code_hash(code_key, canonical, code)):
        raise Refused(WRONG_CODE)
    if stated_email is not None and canonical_email(stated_email) != canonical:
        raise InvalidField("userData.email", "is not the address that was registered")
    if name is not None and name != found.name:
        raise InvalidField("userData.name", "is not the name that was registered")
    if role is not None and role != found.role:
        raise InvalidField("userData.role", "is not the role that was registered")
    if not await passwords.verify(found.password_hash, password):
        raise InvalidField("userData.password", "is not the password that was registered")
    async with pool.connection() as conn, conn.transaction():
        if not await accounts.use_up(conn, found):
            raise Refused(NO_CODE)
        return await accounts.create(
            conn,
            name=found.name,
            email=found.email,
            email_canonical=canonical,
            role=found.role,
            password_hash=found.password_hash,
        )


async def authenticate(pool: Pool, passwords: Passwords, *, email: str, password: str) -> Login:
    """The account that this address and password open.

    An unknown address and a wrong password take the same way: one argon2 run, one NotFound.
    Raises Forbidden for a blocked account, only after the right password.
    """
    try:
        canonical = canonical_email(email)
    except InvalidField:
        canonical = ""
    async with pool.connection() as conn:
        found = await accounts.find(conn, canonical)
    fits = await passwords.verify(found.password_hash if found else None, password)
    if found is None or not fits:
        raise NotFound(WRONG_LOGIN)
    accounts.refuse_blocked(found.status)
    return found


async def create_admin(pool: Pool, email: str, password: str, name: str = "") -> PublicId:
    """An administrator, made by the operator. Raises InvalidField, or Conflict for a taken
    address."""
    canonical = canonical_email(email)
    check_rule(password)
    passwords = Passwords(threads=1)
    try:
        password_hash = await passwords.hash(password)
    finally:
        passwords.close()
    async with pool.connection() as conn, conn.transaction():
        return await accounts.create(
            conn,
            name=name or canonical.partition("@")[0],
            email=email,
            email_canonical=canonical,
            role=Role.ADMIN,
            password_hash=password_hash,
        )


# -- codes and letters ----------------------------------------------------------------------


def _new_code() -> str:
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"


def _code_hash(key: bytes, canonical: str, code: str) -> bytes:
    return hmac.digest(key, f"{canonical}\x00{code}".encode(), "sha256")


def _letter_with_code(email: str, canonical: str, code: str) -> Letter:
    return Letter(
        recipient=email,
        recipient_canonical=canonical,
        subject="Your code",
        body=(
            f"Your code is {code}.\n\n"
            f"It is good for {accounts.CODE_SECONDS // 60} minutes from when it was asked for. If "
            "that was not you, ignore this letter: nothing happens without the code.\n"
        ),
        useful_seconds=accounts.CODE_SECONDS - TYPING_SECONDS,
        code=code,
    )


def _letter_already_there(email: str, canonical: str) -> Letter:
    return Letter(
        recipient=email,
        recipient_canonical=canonical,
        subject="You already have an account",
        body=(
            "Somebody, probably you, tried to register with this address. It has an account "
            "already: sign in with it. If it was not you, there is nothing to do.\n"
        ),
        useful_seconds=NOTICE_SECONDS,
    )
