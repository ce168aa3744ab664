"""What every part of the marketplace face writes in the same way.

Ids are 24 hex digits under `_id`; the rest is as all faces have it, see `earnest.web.shapes`.
"""

from typing import Annotated

import msgspec

from earnest.domain.job import Level, Listing
from earnest.domain.party import Role
from earnest.domain.projection import MARKETPLACE_STATUSES
from earnest.web.shapes import one_of

# What is answered. These say in the description what the code guarantees anyway.
Id = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{24}\Z")]
ContractNumber = Annotated[str, msgspec.Meta(pattern=r"\ACON[1-9][0-9]{7}\Z")]
ContractStatus = Annotated[str, one_of(*MARKETPLACE_STATUSES)]
ReleaseStatus = Annotated[str, one_of("NotRequested", "Requested", "Approved")]
CanceledBy = Annotated[str, one_of("Client", "Freelancer")]
EscrowStatus = Annotated[str, one_of("funded", "released", "refunded")]
Direction = Annotated[str, one_of("credit", "debit")]
JobStatus = Annotated[str, one_of(*Listing)]
ExperienceLevel = Annotated[str, one_of(*Level)]
ExperienceLevelOrNone = Annotated[str, one_of(*Level, "")]
AccountRole = Annotated[str, one_of(Role.CLIENT, Role.FREELANCER, Role.ADMIN)]
AccountStatus = Annotated[str, one_of("Active", "Blocked")]


class Message(msgspec.Struct):
    """An answer that says only that it was done."""

    message: str


class Named(msgspec.Struct):
    """A category or a skill inside another document."""

    id: Id = msgspec.field(name="_id")
    name: str


class Person(msgspec.Struct):
    """A party inside another document; `email` is left out for who may not see it (D8)."""

    id: Id = msgspec.field(name="_id")
    name: str
    email: str | msgspec.UnsetType = msgspec.UNSET
    profilePic: str | msgspec.UnsetType = msgspec.UNSET  # noqa: N815
