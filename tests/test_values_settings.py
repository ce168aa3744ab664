"""A partner's settings, in values: what is wanted, what becomes of it, and how it is told."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from earnest.domain.business import Settings, partner_settings
from earnest.domain.money import CURRENCIES
from earnest.domain.partner_settings import (
    Wanted,
    applied,
    business_name,
    is_host_name,
    new_settings,
    payouts_applied,
    payouts_written,
    written,
)
from earnest.errors import InvalidField

SAR = CURRENCIES["SAR"]
PLAIN = partner_settings(SAR)
# As the API spells them: every field, as a new partner has it, and another value that it can have.
FIELDS: list[tuple[str, Any, Any]] = [
    ("escrowFeeBps", 250, 333),
    ("escrowFeePayer", "buyer", "split"),
    ("escrowFeeMinimum", 0, Decimal("1.5")),
    ("escrowFeeMaximum", None, 250),
    ("platformFeeBps", 1_000, 0),
    ("platformFeePayer", "buyer", "seller"),
    ("platformFeeMinimum", 0, 2),
    ("platformFeeMaximum", None, Decimal("99.99")),
    ("taxBps", 1_500, 10_000),
    ("cancellationNotStartedBps", 0, 100),
    ("cancellationStartedBps", 0, 2_000),
    ("cancellationOngoingBps", 0, 3_000),
    ("cancellationDeliveredBps", 0, 10_000),
    ("retentionBps", 500, 0),
    ("requireKyc", False, True),
    ("refundApproval", "automatic", "admin"),
    ("releaseNeedsApproval", False, True),
    ("callbackHosts", [], ["shop.example", "localhost"]),
    ("amountMaximum", Decimal("999999.99"), 5_000),
    ("payoutMinimum", 1, Decimal("20.5")),
    ("payoutSchedule", "daily", "monthly"),
]
NEW = {field: value for field, value, _ in FIELDS}
OTHER = {field: value for field, _, value in FIELDS}
PAYOUTS = {"payoutMinimum", "payoutSchedule"}


def want(**fields: Any) -> Wanted:
    """Fields as the API spells them."""
    names = dict(zip(Wanted.__struct_encode_fields__, Wanted.__struct_fields__, strict=True))
    return Wanted(**{names[field]: value for field, value in fields.items()})


OTHERS = new_settings(want(**OTHER), SAR)


def refusal(present: Settings = PLAIN, /, **fields: Any) -> str:
    """Why these are refused, beginning with the name of the field."""
    with pytest.raises(InvalidField) as refused:
        applied(present, want(**fields), SAR)
    assert str(refused.value) == f"{refused.value.field} {refused.value.expected}"
    return str(refused.value)


# -- what is wanted, and only that ----------------------------------------------------------------


def test_a_new_partner_has_the_defaults_of_the_spec() -> None:
    assert written(new_settings(Wanted(), SAR), SAR) == NEW


def test_everything_can_be_wanted_at_once() -> None:
    assert written(OTHERS, SAR) == OTHER
    assert set(Wanted.__struct_encode_fields__) == {"name", "currency", *NEW}


@pytest.mark.parametrize(("field", "value"), list(OTHER.items()))
def test_what_is_wanted_changes_and_nothing_else(field: str, value: Any) -> None:
    assert written(applied(PLAIN, want(**{field: value}), SAR), SAR) == NEW | {field: value}


@pytest.mark.parametrize(("field", "value"), list(NEW.items()))
def test_it_can_be_changed_back(field: str, value: Any) -> None:
    assert written(applied(OTHERS, want(**{field: value}), SAR), SAR) == OTHER | {field: value}


def test_what_is_unset_stays_as_it_is() -> None:
    assert applied(PLAIN, Wanted(), SAR) == PLAIN
    assert applied(OTHERS, Wanted(), SAR) == OTHERS


def test_the_marketplaces_payouts_are_set_in_the_same_words() -> None:
    shop = Settings()
    assert payouts_written(shop, SAR) == {"payoutMinimum": 1, "payoutSchedule": "manual"}
    wanted = want(**{field: OTHER[field] for field in PAYOUTS})
    changed = payouts_applied(shop, wanted, SAR)
    assert payouts_written(changed, SAR) == {field: OTHER[field] for field in PAYOUTS}
    assert (
        msgspec.structs.replace(changed, payout_minimum_minor=100, payout_schedule="manual") == shop
    )
    assert payouts_applied(changed, Wanted(), SAR) == changed


def test_amounts_are_in_the_units_of_the_currency() -> None:
    for code, minor in (("JPY", 12), ("SAR", 1_200), ("KWD", 12_000)):
        of = CURRENCIES[code]
        settings = new_settings(want(payoutMinimum=12, amountMaximum=12), of)
        assert (settings.payout_minimum_minor, settings.amount_minor_max) == (minor, minor)
        assert written(settings, of)["payoutMinimum"] == 12


def test_hosts_are_kept_in_lower_case_and_once() -> None:
    hosts = ["Shop.Example", "shop.example", "xn--bcher-kva.example", "shop.4you", "0xy", "a"]
    assert applied(PLAIN, want(callbackHosts=hosts), SAR).callback_hosts == (
        *("shop.example", "xn--bcher-kva.example", "shop.4you", "0xy", "a"),
    )


def test_it_takes_what_is_just_within_the_limits() -> None:
    for field in (name for name in NEW if name.endswith("Bps")):
        for bps in (0, 10_000):
            assert written(applied(PLAIN, want(**{field: bps}), SAR), SAR)[field] == bps
    most = 10**13
    for field in ("amountMaximum", "payoutMinimum", "escrowFeeMinimum", "platformFeeMaximum"):
        assert written(applied(PLAIN, want(**{field: most}), SAR), SAR)[field] == most
    hosts = [f"{number}.example" for number in range(100)]
    assert len(applied(PLAIN, want(callbackHosts=hosts), SAR).callback_hosts) == 100
    nothing = want(platformFeeMaximum=0, escrowFeeMinimum=Decimal("0.00"))
    assert written(applied(PLAIN, nothing, SAR), SAR) == NEW | {"platformFeeMaximum": 0}


# -- refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", [name for name in NEW if name.endswith("Bps")])
@pytest.mark.parametrize("bps", [-1, 10_001])
def test_no_rate_is_below_nothing_or_above_the_whole(field: str, bps: int) -> None:
    assert refusal(**{field: bps}) == f"{field} must be 0 to 10000 basis points"


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("escrowFeePayer", "buyer, seller, split"),
        ("platformFeePayer", "buyer, seller, split"),
        ("refundApproval", "automatic, admin"),
        ("payoutSchedule", "manual, daily, weekly, monthly"),
    ],
)
def test_a_word_is_one_of_those_there_are(field: str, words: str) -> None:
    assert refusal(**{field: "thirdParty"}) == f"{field} must be one of {words}"
    for word in words.split(", "):
        assert written(applied(PLAIN, want(**{field: word}), SAR), SAR)[field] == word


@pytest.mark.parametrize(
    "field",
    [
        *("escrowFeeMinimum", "escrowFeeMaximum", "platformFeeMinimum", "platformFeeMaximum"),
        *("amountMaximum", "payoutMinimum"),
    ],
)
def test_no_amount_is_below_nothing_too_fine_or_too_large(field: str) -> None:
    assert refusal(**{field: -1}) == f"{field} must be greater than 0"
    too_fine = Decimal("0.001")
    assert refusal(**{field: too_fine}) == f"{field} must have at most 2 decimals in SAR"
    too_large = Decimal("10000000000000.01")
    assert refusal(**{field: too_large}) == f"{field} must be at most 10000000000000.00"


@pytest.mark.parametrize("field", ["amountMaximum", "payoutMinimum"])
def test_what_has_to_be_something_is_not_nothing(field: str) -> None:
    assert refusal(**{field: 0}) == f"{field} must be greater than 0"


@pytest.mark.parametrize("fee", ["escrowFee", "platformFee"])
def test_no_minimum_is_above_its_maximum_and_what_was_changed_is_named(fee: str) -> None:
    minimum, maximum = f"{fee}Minimum", f"{fee}Maximum"
    capped = applied(PLAIN, want(**{maximum: 5}), SAR)
    floored = applied(PLAIN, want(**{minimum: 5}), SAR)
    above, below = Decimal("5.01"), Decimal("4.99")
    not_above = f"{minimum} must not exceed the maximum"
    assert refusal(capped, **{minimum: above}) == not_above
    assert refusal(capped, **{minimum: above, maximum: 5}) == not_above
    assert refusal(floored, **{maximum: below}) == f"{maximum} must not be below the minimum"
    both = written(applied(capped, want(**{minimum: 5}), SAR), SAR)
    assert (both[minimum], both[maximum]) == (5, 5)


def hosts_refused(*hosts: str) -> str:
    return refusal(callbackHosts=list(hosts))


def test_hosts_are_names_and_not_too_many() -> None:
    assert hosts_refused(*["shop.example"] * 101) == "callbackHosts must have at most 100 entries"
    no_name = "must be a host name: shop.example.com"
    assert hosts_refused("shop.example", "shop example") == f"callbackHosts[1] {no_name}"
    assert hosts_refused("") == f"callbackHosts[0] {no_name}"
    address = "must be a name, not an address"
    for host in ("127.0.0.1", "2130706433", "shop.0X7f", "0x"):
        assert hosts_refused("shop.example", host) == f"callbackHosts[1] {address}"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("Shop.example", True),
        ("a.b", True),
        ("a-1.b--c", True),
        ("x" * 63 + ".example", True),
        ("x" * 64 + ".example", False),
        (".".join(["x" * 62] * 4) + ".x", True),
        (".".join(["x" * 62] * 4) + ".xx", False),
        ("shop.example.", False),
        (".shop", False),
        ("-a", False),
        ("a-", False),
        ("a_b", False),
        ("shop.example\n", False),
        ("bücher.example", False),
        ("\u212aing.example", False),  # the sign of Kelvin, whose lower case is a plain k
    ],
)
def test_a_name_of_a_host_is_as_rfc_1123_writes_it(text: str, is_one: bool) -> None:
    assert is_host_name(text) is is_one


# -- what is left of it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("escrow", "platform", "tax_bps", "refused"),
    [
        # A rate and who bears it; together exactly the whole, then a little more.
        ((5_000, "seller"), (5_000, "seller"), 0, None),
        ((5_000, "seller"), (5_001, "seller"), 0, "platformFeeBps"),
        ((10_000, "seller"), (0, "seller"), 0, None),
        ((10_000, "seller"), (0, "seller"), 1, "escrowFeeBps"),
        ((0, "seller"), (10_000, "seller"), 1, "platformFeeBps"),
        ((10_000, "split"), (10_000, "split"), 0, None),
        ((10_000, "split"), (10_000, "split"), 1, "platformFeeBps"),
        ((10_000, "split"), (5_000, "seller"), 0, None),
        ((10_000, "split"), (5_001, "seller"), 0, "platformFeeBps"),
        ((2_500, "seller"), (2_500, "seller"), 10_000, None),
        ((2_500, "seller"), (2_501, "seller"), 10_000, "platformFeeBps"),
        ((10_000, "buyer"), (10_000, "seller"), 0, None),
        ((10_000, "buyer"), (10_000, "buyer"), 10_000, None),
    ],
)
def test_no_fees_with_their_tax_eat_every_amount(
    escrow: tuple[int, str], platform: tuple[int, str], tax_bps: int, refused: str | None
) -> None:
    fields: dict[str, Any] = {"taxBps": tax_bps}
    for name, (bps, payer) in (("escrow", escrow), ("platform", platform)):
        fields |= {f"{name}FeeBps": bps, f"{name}FeePayer": payer}
    if refused is None:
        assert written(applied(PLAIN, want(**fields), SAR), SAR) == NEW | fields
    else:
        nothing = "and the other fees leave the seller nothing, with their tax"
        assert refusal(**fields) == f"{refused} {nothing}"


def test_a_fee_that_ends_somewhere_leaves_something_of_amounts_beyond() -> None:
    fees: dict[str, Any] = {"escrowFeeBps": 10_000, "platformFeeBps": 10_000, "taxBps": 10_000}
    payers = {"escrowFeePayer": "seller", "platformFeePayer": "seller"}
    for capped in ({"escrowFeeMaximum": 50}, {"platformFeeMaximum": 50}):
        assert "leave the seller nothing" in refusal(**fees, **payers, **capped)
    applied(PLAIN, want(**fees, **payers, escrowFeeMaximum=50, platformFeeMaximum=50), SAR)


# -- a name ---------------------------------------------------------------------------------------

LENGTH = "name must have 1 to 100 characters"
CONTROL = "name must not contain control characters"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("X", "X"),
        ("7", "7"),
        ("!", "!"),
        ("+", "+"),
        ("x" * 100, "x" * 100),
        ("  Huda's\u3000 shop ", "Huda's shop"),
        ("Cafe\u0301", "Café"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
    ],
)
def test_a_name_is_kept_tidy(name: str, kept: str) -> None:
    assert business_name(name) == kept


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", LENGTH),
        ("   ", LENGTH),
        ("x" * 101, LENGTH),
        (" " * 100 + "x", LENGTH),
        ("\u0301", LENGTH),
        *((blank, LENGTH) for blank in "\u115f\u1160\u2800\u3164\uffa0\u200c\u200d"),
        *((f"a{hidden}b", CONTROL) for hidden in "\n\u00ad\u202e\ud800\u2028\u2029"),
    ],
)
def test_a_name_is_something_that_can_be_seen(name: str, why: str) -> None:
    with pytest.raises(InvalidField) as refused:
        business_name(name)
    assert (refused.value.field, str(refused.value)) == ("name", why)
