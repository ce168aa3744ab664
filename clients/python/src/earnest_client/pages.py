"""What every page of a list has, whatever is in the list: enough to walk from page to page."""

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Entry(Protocol):
    """Something in a list; `id` tells it from the others."""

    @property
    def id(self) -> object:
        """Unique within the list."""


AnEntry_co = TypeVar("AnEntry_co", bound=Entry, covariant=True)


class Page(Protocol[AnEntry_co]):
    """A page of a list: `page` counts from 1."""

    @property
    def page(self) -> int:
        """Which one it is."""

    @property
    def page_size(self) -> int:
        """How many entries a full one has."""

    @property
    def entries(self) -> Sequence[AnEntry_co]:
        """What is on it."""
