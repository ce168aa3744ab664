"""**People**: users as operators see them, profiles, and reviews of completed contracts.

Invariant: a profile belongs to one account and is how its owner introduces themselves; contracts
and the audit trail name people as their accounts do, whatever a profile says. A review is of one
completed contract, by its client, and never changes.
"""

from datetime import datetime

import msgspec

from earnest.domain.job import Label, Level
from earnest.domain.party import Party, Role
from earnest.errors import NotFound, Refused
from earnest.ids import PublicId, sub_id

PROFILE_PART = 1
"""A profile's own id is this part of its owner's."""


class User(msgspec.Struct, frozen=True):
    """An account. `status` is Active or Blocked."""

    key: int
    public_id: PublicId
    role: Role
    status: str
    name: str
    email: str
    picture: str
    created_at: datetime
    updated_at: datetime


class ClientProfile(msgspec.Struct, frozen=True):
    """How a client introduces themselves; texts may be empty but for `first_name`."""

    owner: Party
    first_name: str
    last_name: str
    company_name: str
    description: str
    website: str
    country: str
    city: str
    created_at: datetime
    updated_at: datetime


class FreelancerProfile(msgspec.Struct, frozen=True):
    """How a freelancer introduces themselves; texts may be empty but for `first_name`.

    `portfolio` holds https links.
    """

    owner: Party
    first_name: str
    last_name: str
    title: str
    bio: str
    experience_level: Level | None
    category: Label | None
    skills: tuple[Label, ...]
    languages: tuple[str, ...]
    portfolio: tuple[str, ...]
    country: str
    city: str
    created_at: datetime
    updated_at: datetime


class Review(msgspec.Struct, frozen=True):
    """What `client` says of a freelancer's work. `rating` is from 1 to 5."""

    key: int
    public_id: PublicId
    contract: PublicId
    client: Party
    freelancer: PublicId
    rating: int
    description: str
    created_at: datetime


def profile_id(owner: PublicId) -> PublicId:
    """The id of the profile of `owner`."""
    return sub_id(owner, PROFILE_PART)


# -- refusals ---------------------------------------------------------------------------------


class UserNotFound(NotFound):
    """User not found"""


class CannotBlockYourself(Refused):
    """You cannot block yourself: ask another admin"""


class ProfileNotFound(NotFound):
    """Profile not found"""


class NotCompletedYet(Refused):
    """You can review a contract only after its work is completed."""


class AlreadyReviewed(Refused):
    """You have already reviewed this contract"""
