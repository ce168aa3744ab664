"""Parties and actors: who a contract binds, and who is acting on it now."""

from enum import StrEnum

import msgspec

from earnest.ids import PublicId


class Role(StrEnum):
    """What an actor is to Earnest. A marketplace login has exactly one of the first three."""

    CLIENT = "client"
    FREELANCER = "freelancer"
    ADMIN = "admin"
    PARTNER = "partner"
    SYSTEM = "system"


class Actor(msgspec.Struct, frozen=True):
    """Who is acting. `key` is a party's (client, freelancer, admin), a business's (partner)
    or 0 (system: timers and provider events). `token_generation` is that of the token that
    names a party; see `store.accounts.require_active`."""

    role: Role
    key: int
    public_id: PublicId = PublicId("")
    token_generation: int = 0

    @property
    def name(self) -> str:
        """How the audit trail and the idempotency records name this actor: `client:42`."""
        return f"{self.role}:{self.key}"


SYSTEM = Actor(Role.SYSTEM, 0)


class Party(msgspec.Struct, frozen=True):
    """A buyer, a seller or an admin as other people see them."""

    key: int
    public_id: PublicId
    name: str
    email: str = ""
    picture: str = ""
