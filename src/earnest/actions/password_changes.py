"""A new **password**: with the old one, or with a link that was mailed to the account's address.

Invariant: whoever set a password is the only one signed in afterwards, as far as they can be
told: every other session and every access token ends in the same database transaction, a link
that still waits is void, and a letter tells the owner. Nobody is blocked or unblocked by it, and
nothing tells whether an address has an account.
"""

import hashlib
import secrets

import asyncpg

from earnest.actions.accounts import (
    Gate,
    WrongLogin,
    authenticate,
    canonical_email,
    letter_charges,
    login_charge,
)
from earnest.actions.passwords import check_rule
from earnest.errors import InvalidField, Refused
from earnest.store import accounts, mail, password_resets, sessions
from earnest.store.accounts import Login
from earnest.store.limits import RESET, Charge
from earnest.store.mail import Letter

TOKEN_BYTES = 32
READING_SECONDS = 60
"""A link that has less than this to live when it could be mailed would only come too late."""
NOTICE_SECONDS = 7 * 24 * 3600


class ResetTokenInvalid(Refused):
    """This link is not valid or has expired, ask for a new one"""


async def change_password(
    gate: Gate,
    address: str,
    *,
    email: str,
    current: str,
    new: str,
    confirmed: str,
    refresh_token_id: str | None,
) -> None:
    """Another password for whoever knows the current one; their other sessions end.

    `refresh_token_id` names the session that goes on. A wrong current password counts as a
    failed sign-in. Raises what `authenticate` raises, and InvalidField.
    """
    _check_new(new, confirmed)
    if new == current:
        raise InvalidField("newPassword", "must differ from the current password")
    found = await authenticate(gate, address, email=email, password=current)
    new_hash = await gate.passwords.hash(new, address)
    async with gate.pool.connection() as conn, conn.transaction():
        await password_resets.set_void(conn, canonical_email(found.email))
        if not await _replace(conn, found, new_hash, "password changed", refresh_token_id):
            raise WrongLogin


async def forgot_password(gate: Gate, address: str, *, email: str, client_url: str) -> None:
    """Mail a link to whoever has an account with this address; the one before it is void.

    The letter goes to the address as it was registered. Raises InvalidField, TooMany.
    """
    canonical = canonical_email(email)
    token = secrets.token_hex(TOKEN_BYTES)
    async with (
        gate.limits.charged(*await letter_charges(gate, canonical, address)),
        gate.pool.connection() as conn,
        conn.transaction(),
    ):
        await password_resets.ask(conn, canonical, _token_hash(token))
        found = await accounts.find(conn, canonical)
        if found is not None:
            link = f"{client_url.rstrip('/')}/reset-password?token={token}"
            await mail.queue(conn, _letter_with_link(found.email, canonical, link))


async def reset_password(gate: Gate, address: str, *, token: str, new: str, confirmed: str) -> None:
    """The password of the account that the token was mailed to; all its sessions end.

    Raises InvalidField, TooMany, or ResetTokenInvalid for a token that is unknown, expired,
    used, or older than another one.
    """
    _check_new(new, confirmed)
    token_hash = _token_hash(token)
    async with gate.limits.counting((ResetTokenInvalid,), Charge(RESET, (address,))):
        async with gate.pool.connection() as conn:
            found = await password_resets.find(conn, token_hash)
        if found is None:
            raise ResetTokenInvalid
        new_hash = await gate.passwords.hash(new, address)
        async with gate.pool.connection() as conn, conn.transaction():
            if not await password_resets.use_up(conn, token_hash):
                raise ResetTokenInvalid
            if not await _replace(conn, found, new_hash, "password set anew", None):
                raise ResetTokenInvalid
            # They read the account's mail: no guessing from elsewhere keeps them out.
            await gate.limits.remember(conn, canonical_email(found.email), address)
    # Whoever forgot it has tried in vain before, and may sign in now.
    await gate.limits.forgive(login_charge(canonical_email(found.email), address))


def _check_new(new: str, confirmed: str) -> None:
    check_rule(new, "newPassword")
    if confirmed != new:
        raise InvalidField("confirmPassword", "must be the same as newPassword")


async def _replace(
    conn: asyncpg.Connection,
    login: Login,
    password_hash: str,
    reason: str,
    spared_token_id: str | None,
) -> bool:
    """Within the caller's transaction, which has dealt with the table of resets before: so that
    nobody who locks that and the login waits in a circle. False: changed meanwhile."""
    if not await accounts.set_password(conn, login, password_hash):
        return False
    await sessions.sign_out_everywhere(conn, login.key, reason, spared_token_id)
    await mail.queue(conn, _letter_of_change(login.email, canonical_email(login.email)))
    return True


def _token_hash(token: str) -> bytes:
    """256 random bits need no key and no slow hash."""
    return hashlib.sha256(token.encode()).digest()


def _letter_with_link(email: str, canonical: str, link: str) -> Letter:
    return Letter(
        recipient=email,
        recipient_canonical=canonical,
        subject="Choose a new password",
        body=(
            f"Choose a new password here:\n\n{link}\n\n"
            f"The link is good for {password_resets.TOKEN_SECONDS // 60} minutes from when it was"
            " asked for, once. If that was not you, ignore this letter: nothing happens without"
            " the link.\n"
        ),
        useful_seconds=password_resets.TOKEN_SECONDS - READING_SECONDS,
        link=link,
    )


def _letter_of_change(email: str, canonical: str) -> Letter:
    return Letter(
        recipient=email,
        recipient_canonical=canonical,
        subject="Your password was changed",
        body=(
            "The password of your account was changed, and all other devices were signed out. If"
            " that was not you, choose a new password at once, with the link that you get from"
            ' "forgot password".\n'
        ),
        useful_seconds=NOTICE_SECONDS,
    )
