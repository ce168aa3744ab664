"""What tells people and bank accounts apart: by property, and each refusal by name."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnest.domain import identity
from earnest.domain.identity import IBAN_LENGTHS
from earnest.errors import InvalidField

TODAY = date(2026, 5, 1)
NO_IBAN = "must be an IBAN, such as SA and 22 digits"
# The examples that the registry of ISO 13616 and banks print.
KNOWN_IBANS = (
    "SA0380000000608010167519",
    "AE070331234567890123456",
    "BE68539007547034",
    "DE89370400440532013000",
    "EG380019000500000000263180002",
    "FR1420041010050500013M02606",
    "GB29NWBK60161331926819",
    "JO94CBJO0010000000000131000302",
    "KW81CBKU0000000000001234560101",
    "LC55HEMM000100010012001200023015",
    "MT84MALT011000012345MTLCAST001S",
    "NO9386011117947",
    "QA58DOHB00001234567890ABCDEFG",
    "TR330006100519786457841326",
)
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
countries = st.sampled_from(sorted(IBAN_LENGTHS))


@st.composite
def ibans(draw: st.DrawFn) -> str:
    """An IBAN of any country, with check digits as ISO/IEC 7064 computes them."""
    country = draw(countries)
    letters = "0123456789" if country == "SA" else ALPHABET
    size = IBAN_LENGTHS[country] - 4
    account = draw(st.text(letters, min_size=size, max_size=size))
    number = int("".join(str(ALPHABET.index(one)) for one in f"{account}{country}00"))
    return f"{country}{98 - number % 97:02d}{account}"


def expected(check: Callable[..., Any], text: str, *more: Any, **named: Any) -> str:
    """What the refusal of `text` says after the name of the field; it never repeats the text."""
    with pytest.raises(InvalidField) as found:
        check(text, "theField", *more, **named)
    assert found.value.field == "theField"
    assert len(text) < 9 or text not in found.value.message
    return found.value.expected


# -- IBAN -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", KNOWN_IBANS)
def test_it_takes_the_ibans_that_banks_print(known: str) -> None:
    assert len(known) == IBAN_LENGTHS[known[:2]]
    assert identity.iban(known, "iBAN") == known


@given(ibans())
def test_it_takes_every_right_iban_in_any_case_and_grouping(right: str) -> None:
    grouped = " ".join(right[at : at + 4] for at in range(0, len(right), 4))
    assert identity.iban(grouped.lower(), "iBAN") == right


@given(ibans(), st.data())
def test_it_finds_every_single_mistyped_digit(right: str, data: st.DataObject) -> None:
    digits = [at for at, one in enumerate(right) if one.isdigit()]
    at = data.draw(st.sampled_from(digits))
    other = data.draw(st.sampled_from([one for one in "0123456789" if one != right[at]]))
    expected(identity.iban, right[:at] + other + right[at + 1 :])


@given(ibans(), st.data())
def test_it_finds_two_digits_or_two_letters_that_changed_places(
    right: str, data: st.DataObject
) -> None:
    places = [
        at
        for at in range(4, len(right) - 1)
        if right[at] != right[at + 1] and right[at].isdigit() == right[at + 1].isdigit()
    ]
    if places:
        at = data.draw(st.sampled_from(places))
        expected(identity.iban, right[:at] + right[at + 1] + right[at] + right[at + 2 :])


@given(ibans(), st.integers(1, 3))
def test_it_finds_what_was_left_out_or_typed_twice(right: str, count: int) -> None:
    expected(identity.iban, right[:-count])
    expected(identity.iban, right + right[-count:])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", NO_IBAN),
        ("0380000000608010167519", NO_IBAN),
        ("ZZ0380000000608010167519", NO_IBAN),
        ("US0380000000608010167519", NO_IBAN),
        ("SA03-8000-0000-6080-1016-7519", NO_IBAN),
        ("SA03٨000000060801016751٩", NO_IBAN),
        ("SA0380000000608010167519\n", NO_IBAN),
        ("SA038000000060801016751", "must be SA and 22 digits"),
        ("SA038000000060801016751A", "must be SA and 22 digits"),
        ("SA0480000000608010167519", "is mistyped: its check digits do not fit"),
        ("DE8937040044053201300", "must be DE and 20 letters and digits"),
        ("SA" * 5_000, NO_IBAN),
    ],
)
def test_it_refuses_what_is_no_iban(text: str, wanted: str) -> None:
    assert expected(identity.iban, text) == wanted


# -- BIC ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["RJHISARI", "rjhisari", "NCBKSAJEXXX", " DEUTDEFF500 "])
def test_it_takes_bics_of_8_and_11(text: str) -> None:
    assert identity.bic(text, "bIC") == text.strip().upper()


@pytest.mark.parametrize(
    "text",
    ["", "RJHISAR", "RJHISARIX", "RJHISARIXX", "RJHISARIXXXX", "RJHIZZRI", "RJHI5ARI", "RJHI ARI",
     "RJHISARİ", "RJHISARI\n\nA"],
)  # fmt: skip
def test_it_refuses_what_is_no_bic(text: str) -> None:
    assert expected(identity.bic, text) == ("must be a BIC of 8 or 11 characters, such as RJHISARI")


# -- people ---------------------------------------------------------------------------------------


@given(st.from_regex(r"[1-9][0-9]{7,14}", fullmatch=True).filter(str.isascii))
def test_it_takes_phone_numbers_of_8_to_15_digits(text: str) -> None:
    assert identity.phone_number(text, "phoneNumber") == text


@pytest.mark.parametrize(
    "text",
    ["", "9665000", "9" * 16, "+966500000001", "966 500 000 001", "00966500000001", "0500000001",
     "966-500-000-001", "٩٦٦٥٠٠٠٠٠٠٠١", "966500000001\n", "96650000000x"],
)  # fmt: skip
def test_it_refuses_other_ways_to_write_a_phone_number(text: str) -> None:
    assert expected(identity.phone_number, text) == (
        "must be 8 to 15 digits, beginning with the country code, without + or spaces"
    )


@pytest.mark.parametrize("text", ["1012345678", "2012345678"])
def test_it_takes_the_ids_of_citizens_and_residents(text: str) -> None:
    assert identity.national_id(text, "nationalId") == text


@pytest.mark.parametrize(
    "text",
    ["", "5012345678", "0012345678", "101234567", "10123456789", "101234567٨", "1012345678\n",
     " 1012345678", "10-1234567"],
)  # fmt: skip
def test_it_refuses_other_national_ids(text: str) -> None:
    assert expected(identity.national_id, text) == "must be 10 digits, the first of them 1 or 2"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Huda", "Huda"),
        ("  Huda   bint\tAli ".replace("\t", " "), "Huda bint Ali"),
        ("هدى", "هدى"),
        ("प्रिया", "प्रिया"),
        ("O'Brien-Smith Jr.", "O'Brien-Smith Jr."),
        ("Jose\u0301", "Jos\u00e9"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("x" * 100, "x" * 100),
    ],
)
def test_it_takes_names_as_people_write_them(text: str, name: str) -> None:
    assert identity.person_name(text, "firstName") == name


@pytest.mark.abuse(119)
@pytest.mark.parametrize(
    "text",
    ["Hu\u202eda", "Hu\u2066da", "Hu\u200fda", "Hu\u200bda", "Hu\x00da", "Hu\nda", "Hu\x85da",
     "\ufeffHuda", "Hu\u2028da", "\u0301" * 100, "a" + "\u0301" * 31, "x" * 101, "", " ", "...",
     "\u200d", "Hu\xadda", "Hu\u034fda", "\u3164", "Hu\u3164da", "Hu\u2800da", "Hu\ufff9da",
     "Hu\uffffda", "Hu\U000e0041da"],
)  # fmt: skip
def test_it_refuses_names_that_nobody_has(text: str) -> None:
    assert expected(identity.person_name, text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x" * 101, "must be at most 100 characters long"),
        ("a" + "\u0301" * 31, "must not pile up more than 30 marks"),
        ("Hu\x00da", "must not contain control or invisible characters"),
        ("...", "must contain a letter"),
        ("", "is required"),
        (" ", "is required"),
    ],
)
def test_it_says_what_is_wrong_with_a_name(text: str, wanted: str) -> None:
    assert expected(identity.person_name, text) == wanted


def test_a_name_may_have_thirty_marks_in_a_row() -> None:
    assert identity.person_name("x" + "\u0301" * 30, "firstName") == "x" + "\u0301" * 30


def test_a_last_name_may_be_missing_but_not_be_nonsense() -> None:
    assert identity.person_name("", "lastName", required=False) == ""
    assert identity.person_name("  ", "lastName", required=False) == ""
    assert "letter" in expected(identity.person_name, "!!!", required=False)


@pytest.mark.parametrize(
    "text", ["1990-02-28", "1990-02-28T00:00:00Z", "1990-02-28T00:00:00.000+03:00"]
)
def test_it_takes_a_day_of_birth(text: str) -> None:
    assert identity.birthday(text, "dateOfBirth", TODAY) == date(1990, 2, 28)


@pytest.mark.parametrize(
    "text",
    ["", "1990-02-30", "28.02.1990", "1990-2-28", "2026-05-01", "2026-05-02", "9999-12-31",
     "1875-01-01", "0001-01-01", "1990-02-28x", "1990-02-28\n"],
)  # fmt: skip
def test_it_refuses_days_on_which_nobody_was_born(text: str) -> None:
    assert expected(identity.birthday, text, TODAY).startswith("must be a day")


def test_nobody_was_born_today_or_more_than_150_years_ago() -> None:
    oldest, youngest = TODAY - timedelta(days=150 * 366 - 1), TODAY - timedelta(days=1)
    for born in (oldest, youngest):
        assert identity.birthday(born.isoformat(), "dateOfBirth", TODAY) == born
    for never in (oldest - timedelta(days=1), TODAY):
        wanted = "must be a day in the past"
        assert expected(identity.birthday, never.isoformat(), TODAY) == wanted
    assert expected(identity.birthday, "1990-02-30", TODAY) == "must be a day, YYYY-MM-DD"


# -- masks ----------------------------------------------------------------------------------------


@given(ibans())
def test_a_mask_shows_the_country_and_four_digits(right: str) -> None:
    shown = identity.masked(right, 2, 4).replace(" ", "")
    assert shown == right[:2] + "*" * (len(right) - 6) + right[-4:]
