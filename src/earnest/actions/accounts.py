"""Accounts: register, verify, sign in. What a caller may learn is the same for every address.

Invariants: the account is made from what `register` stored, after the code that was mailed to
that address came back; an administrator is made by `create_admin` only. Whatever can be guessed
or sends a letter is charged for before it is done (`store.limits`), by the client's `address`
and by account, whether there is such an account or not.
"""

import hmac
import re
import secrets

import asyncpg
import msgspec

from earnest.actions.passwords import Passwords, check_rule
from earnest.domain.party import Role
from earnest.errors import Forbidden, InvalidField, NotFound, Refused, TooMany
from earnest.ids import PublicId
from earnest.store import accounts, mail, sessions
from earnest.store.accounts import Login, Registration
from earnest.store.db import Pool
from earnest.store.limits import (
    CODE,
    CODE_ADDRESS,
    LETTER,
    LETTER_ACCOUNT,
    LETTER_ADDRESS,
    LOGIN,
    LOGIN_ACCOUNT,
    LOGIN_ADDRESS,
    Charge,
    Limits,
)
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


class WrongLogin(NotFound):
    """Invalid password or email"""


class WrongCode(Refused):
    """The code is not correct"""


class CodeExpired(Refused):
    """The code has expired, ask for a new one"""


class Gate(msgspec.Struct, frozen=True):
    """What these actions work with; built once per process by `earnest.app`.

    `code_key` is secret and used for one-time codes only.
    """

    pool: Pool
    passwords: Passwords
    limits: Limits
    code_key: bytes


class SignedIn(msgspec.Struct, frozen=True):
    """Who signed in, and the id of the first refresh token of the session."""

    login: Login
    token_id: str


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
    gate: Gate, address: str, *, name: str, email: str, password: str, role: Role
) -> None:
    """Mail a code to `email`; whoever has an account there already is told so by the same way.

    For a taken address a registration is kept too, whose code nobody has: so that wrong codes
    are counted and answered as everywhere else. Raises InvalidField, Forbidden for the role
    admin, TooMany.
    """
    if role is Role.ADMIN:
        raise Forbidden
    canonical = canonical_email(email)
    check_rule(password)
    async with gate.limits.charged(*await letter_charges(gate, canonical, address)):
        password_hash = await gate.passwords.hash(password, address)
        async with gate.pool.connection() as conn, conn.transaction():
            code_hash, letter = await _answer_to(gate, conn, email, canonical)
            wanted = Registration(email, canonical, name, role, password_hash, code_hash)
            await accounts.register(conn, wanted)
            await mail.queue(conn, letter)


async def resend_code(gate: Gate, address: str, *, email: str) -> None:
    """Mail a new code, if somebody waits for one. The old code is void.

    Raises InvalidField, TooMany.
    """
    canonical = canonical_email(email)
    async with (
        gate.limits.charged(*await letter_charges(gate, canonical, address)),
        gate.pool.connection() as conn,
        conn.transaction(),
    ):
        code_hash, letter = await _answer_to(gate, conn, email, canonical)
        recipient = await accounts.replace_code(conn, canonical, code_hash)
        if recipient is not None:
            await mail.queue(conn, msgspec.structs.replace(letter, recipient=recipient))


async def verify(
    gate: Gate,
    address: str,
    *,
    email: str,
    code: str,
    name: str | None,
    stated_email: str | None,
    password: str,
    role: str | None,
) -> PublicId:
    """Make the account whose code this is; the other arguments must say what `register` said.

    Raises WrongCode, or CodeExpired also for one that was used up or never was; InvalidField for
    anything that differs from the registration; Conflict when the address got an account
    meanwhile; TooMany.
    """
    canonical = canonical_email(email)
    charges = (Charge(CODE, (canonical, address)), Charge(CODE_ADDRESS, (address,)))
    async with gate.limits.counting((WrongCode, CodeExpired), *charges):
        async with gate.pool.connection() as conn:
            found = await accounts.take_a_try(conn, canonical)
        if found is None:
            raise CodeExpired
        if not hmac.compare_digest(found.code_hash, _code_hash(gate.code_key, canonical, code)):
            raise WrongCode
        if stated_email is not None and canonical_email(stated_email) != canonical:
            raise InvalidField("userData.email", "is not the address that was registered")
        if name is not None and name != found.name:
            raise InvalidField("userData.name", "is not the name that was registered")
        if role is not None and role != found.role:
            raise InvalidField("userData.role", "is not the role that was registered")
        if not await _is_registered(gate, found, password, address):
            raise InvalidField("userData.password", "is not the password that was registered")
        async with gate.pool.connection() as conn, conn.transaction():
            if not await accounts.use_up(conn, found):
                raise CodeExpired
            return await accounts.create(
                conn,
                name=found.name,
                email=found.email,
                email_canonical=canonical,
                role=found.role,
                password_hash=found.password_hash,
            )


async def authenticate(gate: Gate, address: str, *, email: str, password: str) -> Login:
    """The account that this e-mail address and password open, for whoever is at `address`.

    An unknown address and a wrong password take the same way: one argon2 run, one WrongLogin.
    Raises TooMany before any of that, and Forbidden for a blocked account, only after the right
    password.
    """
    account = account_of(email)
    async with gate.limits.counting((WrongLogin,), *await _login_charges(gate, account, address)):
        async with gate.pool.connection() as conn:
            found = await accounts.find(conn, account)
        known = found.password_hash if found else None
        fits = await gate.passwords.verify(known, password, address)
        if found is None or not fits:
            raise WrongLogin
    accounts.refuse_blocked(found.status)
    return found


async def sign_in(
    gate: Gate, address: str, *, email: str, password: str, refresh_seconds: int
) -> SignedIn:
    """`authenticate`, and a new session.

    Raises Conflict, too: the password was changed, or everybody signed out, at that moment.
    """
    found = await authenticate(gate, address, email=email, password=password)
    async with gate.pool.connection() as conn:
        token_id = await sessions.open_session(
            conn, found.key, found.token_generation, refresh_seconds
        )
        await gate.limits.remember(conn, account_of(email), address)
    return SignedIn(found, token_id)


async def create_admin(pool: Pool, email: str, password: str, name: str = "") -> PublicId:
    """An administrator, made by the operator. Raises InvalidField, or Conflict for a taken
    address."""
    canonical = canonical_email(email)
    check_rule(password)
    passwords = Passwords(threads=1)
    try:
        password_hash = await passwords.hash(password, accounts.SETUP)
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


# -- who is charged ------------------------------------------------------------------------


def account_of(email: str) -> str:
    """By what an account is found and counted; of what cannot be an address, its own text."""
    try:
        return canonical_email(email)
    except InvalidField:
        return f"not an address: {email}"


def login_charge(account: str, address: str) -> Charge:
    """One attempt to sign in to `account` from `address`."""
    return Charge(LOGIN, (account, address))


async def letter_charges(gate: Gate, account: str, address: str) -> list[Charge]:
    """What a letter to `account` costs whoever at `address` asks for it."""
    charges = [Charge(LETTER, (account, address)), Charge(LETTER_ADDRESS, (address,))]
    if not await gate.limits.is_known(account, address):
        charges.append(Charge(LETTER_ACCOUNT, (account,)))
    return charges


async def _login_charges(gate: Gate, account: str, address: str) -> list[Charge]:
    charges = [login_charge(account, address), Charge(LOGIN_ADDRESS, (address,))]
    if not await gate.limits.is_known(account, address):
        charges.append(Charge(LOGIN_ACCOUNT, (account,)))
    return charges


async def _is_registered(
    gate: Gate, registration: Registration, password: str, address: str
) -> bool:
    try:
        return await gate.passwords.verify(registration.password_hash, password, address)
    except TooMany:
        async with gate.pool.connection() as conn:
            await accounts.give_try_back(conn, registration)
        raise


# -- codes and letters ----------------------------------------------------------------------


async def _answer_to(
    gate: Gate, conn: asyncpg.Connection, email: str, canonical: str
) -> tuple[bytes, Letter]:
    """The hash of a code for whoever registers, and the letter to them.

    Where there is an account already, no code has that hash.
    """
    if await accounts.exists(conn, canonical):
        return secrets.token_bytes(32), _letter_already_there(email, canonical)
    code = _new_code()
    letter = _letter_with_code(email, canonical, code)
    return _code_hash(gate.code_key, canonical, code), letter


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
