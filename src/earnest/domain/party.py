"""Parties and actors: who a contract binds, and who is acting on it now."""

from datetime import datetime
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


class Member(msgspec.Struct, frozen=True):
    """A buyer or a seller of a partner's contracts: of one business, known by a reference and by
    a phone number (digits with country code), each once in that business (decision E23)."""

    key: int
    public_id: PublicId
    business: int
    platform_ref: str
    phone: str
    first_name: str
    last_name: str
    created_at: datetime

    @property
    def name(self) -> str:
        return f"{self.first_name} {self.last_name}".strip()
