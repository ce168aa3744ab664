"""The page of movements: nothing may be missing from it, and nothing of zero is in it."""

import pytest

from earnest.domain.movement import Booked, Funded
from earnest.ledger import reference
from earnest.ledger.reference import EXAMPLES, FEES, movements_reference


def test_a_movement_without_an_example_has_no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "EXAMPLES", EXAMPLES[1:])
    with pytest.raises(ValueError, match=r"\Ano example of funded in EXAMPLES\Z"):
        movements_reference()


def test_a_movement_without_words_has_no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Funded, "__doc__", None)
    with pytest.raises(ValueError, match=r"\Ano docstring of funded\Z"):
        movements_reference()


def test_the_smallest_transfer_is_shown_and_none_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    for minor, shown in ((1, ["0.01"]), (0, [])):
        monkeypatch.setattr(reference, "EXAMPLES", (*EXAMPLES, Booked("fee", "SAR", minor, 2)))
        *_, last = movements_reference().split("\n\n")
        amounts = [line.split("|")[3].strip() for line in last.splitlines()[2:]]
        assert amounts == shown


def test_what_bob_bears_of_the_example_is_our_fee_its_tax_and_the_partners() -> None:
    assert [(line.type, line.payer, line.amount_minor) for line in FEES] == [
        ("escrowFee", "seller", 2_000),
        ("escrowFeeTax", "seller", 300),
        ("externalPlatformFee", "seller", 5_000),
    ]
    assert "of which Bob bears 73.00 of fees and tax" in reference.HEAD.replace("\n", " ")
