"""What a partner's contract should do, written from its specification and from nothing else.

A **bargain** keeps one contract as plain values: words for its facets, amounts in halalas. Every
method is one request: it says whether that is done or why not, and does what must then be true.
The plan is the default one: fees on top of the base, 5 % kept of what a partial refund leaves.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import msgspec

from test_partner_permissions import expected, named

TAX = Fraction(15, 100)
FEES = (Fraction(25, 1000), Fraction(10, 100))
KEPT = Fraction(5, 100)


def half_up(exact: Fraction) -> int:
    return int(exact + Fraction(1, 2))


def fees_of(base: int) -> tuple[int, int]:
    """Fees and taxes on the whole base (E3)."""
    fees = [half_up(base * rate) for rate in FEES]
    return sum(fees), sum(half_up(fee * TAX) for fee in fees)


class Refund(msgspec.Struct):
    """Under way: of these tranches; `back` of a base to the buyer, None for all of it."""

    places: list[int]
    back: int | None
    waits: bool


class Bargain(msgspec.Struct):
    """`charges` are what a GET says that each tranche costs; the rest is worked out here."""

    bases: list[int]
    charges: list[int]
    careful: bool
    agreement: str = "pending"
    work: str = "not_started"
    dispute: str = "none"
    tranches: list[str] = []
    refunds: list[Refund] = []
    buyer: int = 0
    seller: int = 0
    seen: Counter[str] = msgspec.field(default_factory=Counter)

    @property
    def status(self) -> str:
        return named(self)  # type: ignore[arg-type]

    @property
    def held(self) -> int:
        return sum(
            charge
            for charge, money in zip(self.charges, self.tranches, strict=True)
            if money in ("held", "refund_pending")
        )

    @property
    def funded(self) -> int:
        return sum(self.charges) if self.tranches[0] not in ("unfunded", "awaiting_payment") else 0

    # -- requests -------------------------------------------------------------------------------

    def ask(self, verb: str, place: int | None = None, back: int | None = None) -> str:
        """ "ok" or the refusal. `back` makes a refund partial."""
        said = self._refusal(verb, place, back)
        if said == "ok":
            self._do(verb, place, back)
        self.seen[f"{verb} {said}"] += 1
        return said

    def _refusal(self, verb: str, place: int | None, back: int | None) -> str:
        if verb == "refund" and back is not None and place is None and len(self.bases) > 1:
            return "InvalidField"
        said = expected(self, verb, place)  # type: ignore[arg-type]
        if said != "ok" or verb != "refund" or back is None:
            return said
        return "ok" if back < self.bases[place or 0] else "InvalidField"

    def _do(self, verb: str, place: int | None, back: int | None) -> None:
        match verb:
            case "approve":
                self.agreement = "accepted"
                self.work = "started" if self.work == "not_started" else self.work
            case "reject":
                self.agreement = "rejected"
            case "deliver":
                self.work = "delivered"
            case "receive":
                self.work = "completed"
            case "dispute":
                self.dispute = "open"
            case "resolve dispute":
                self.dispute = "resolved"
            case "cancel":
                self.agreement = "cancelled"
                if self.funded:
                    self._begin(range(len(self.bases)), None, waits=False)
            case "release":
                for index in self._held(place):
                    self.tranches[index] = "released"
                    self.seller += self.bases[index]
            case "refund":
                self._begin(self._held(place), back, waits=self.careful)

    def _held(self, place: int | None) -> list[int]:
        if place is not None:
            return [place]
        return [index for index, money in enumerate(self.tranches) if money == "held"]

    def _begin(self, places: Sequence[int], back: int | None, *, waits: bool) -> None:
        for index in places:
            self.tranches[index] = "refund_pending"
        self.refunds.append(Refund(list(places), back, waits))

    # -- what comes from outside ----------------------------------------------------------------

    def wait_for_bank(self) -> bool:
        """The buyer's bank takes its time; whether it is asked at all."""
        is_open = self.agreement in ("pending", "accepted") and self.tranches[0] == "unfunded"
        if is_open:
            self.tranches = ["awaiting_payment"] * len(self.bases)
        return is_open

    def pay(self) -> None:
        """The money comes; what had ended gets it all back, fees included."""
        if self.funded:
            return
        if self.agreement in ("pending", "accepted"):
            self.tranches = ["held"] * len(self.bases)
            return
        self.tranches = ["refund_pending"] * len(self.bases)
        self.refunds.append(Refund(list(range(len(self.bases))), -1, waits=False))

    def rule(self, word: str) -> bool:
        """Olga decides about the newest refund; whether there was anything to decide."""
        if not self.refunds or not self.refunds[-1].waits:
            return False
        if word == "approve":
            self.refunds[-1].waits = False
        else:
            for index in self.refunds.pop().places:
                self.tranches[index] = "held"
        return True

    def settle(self) -> None:
        """The provider gives back whatever waits for nobody else."""
        for refund in [one for one in self.refunds if not one.waits]:
            self.refunds.remove(refund)
            for index in refund.places:
                base = self.bases[index]
                if refund.back is None:
                    self.buyer += base
                elif refund.back < 0:
                    self.buyer += self.charges[index]
                else:
                    rest = base - refund.back
                    self.buyer += refund.back
                    self.seller += rest - half_up(rest * KEPT)
                self.tranches[index] = "split" if (refund.back or -1) > 0 else "refunded"
        settled = set(self.tranches) <= {"released", "refunded", "split"}
        if settled and self.dispute == "open":
            self.dispute = "resolved"

    # -- what must then be true -----------------------------------------------------------------

    def shown(self) -> dict[str, Any]:
        """What a GET has to say, in halalas."""
        gone = self.funded - self.held - self.buyer - self.seller
        return {
            "status": self.status,
            "funded": self.funded,
            "held": self.held,
            "buyer": self.buyer,
            "seller": self.seller,
            "fees and taxes": gone,
        }
