"""What Earnest asks of a **KYC provider**, who knows people and their bank accounts; and the
sandbox's, in which nobody is real.

A **person** is who somebody claims to be. A **code** is sent to a person's phone by the provider,
who alone knows it; we name it by a reference of ours. Invariant: the sandbox keeps nothing. Its
codes follow from a secret key and the reference, and who is unknown, cannot be reached or has no
account is written in TEST_PEOPLE.
"""

import hmac
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Protocol

import msgspec

from earnest.errors import ProviderTransient

CODE_DIGITS = 6


class Person(msgspec.Struct, frozen=True):
    """Who somebody says they are. `phone` is digits with the country code."""

    national_id: str
    first_name: str
    last_name: str
    phone: str
    born: date | None


class Question(msgspec.Struct, frozen=True):
    """Something to answer with yes or no; `text` is in the language that was asked for."""

    name: str
    text: str


class KycProvider(Protocol):
    """Every method raises ProviderTransient when nothing happened and a repetition may help."""

    async def knows(self, person: Person) -> bool:
        """Whether there is such a person."""
        ...

    async def questions(self, language: str) -> Sequence[Question]:
        """What everybody has to answer; in English where `language` (BCP 47) is not known."""
        ...

    async def send_code(self, reference: str, person: Person) -> None:
        """Send a code to this person's phone. The same reference is the same code."""
        ...

    async def is_code(self, reference: str, code: str) -> bool:
        """Whether `code` is the one that was sent under `reference`."""
        ...

    async def owns(self, person: Person, iban: str, bic: str) -> bool:
        """Whether this bank account is that person's."""
        ...


# -- the sandbox --------------------------------------------------------------------------------

UNKNOWN_TO_THE_REGISTER = "1000000099"
WITHOUT_SIGNAL = "1000000088"
WITHOUT_ACCOUNT = "1000000077"


class TestPerson(msgspec.Struct, frozen=True):
    """A national id with which a step of the sandbox goes wrong: the register does not know it
    ("unknown"), sending it a code fails ("unreachable"), or no account is its own."""

    __test__ = False

    national_id: str
    effect: str


TEST_PEOPLE = (
    TestPerson(UNKNOWN_TO_THE_REGISTER, "unknown"),
    TestPerson(WITHOUT_SIGNAL, "unreachable"),
    TestPerson(WITHOUT_ACCOUNT, "without_account"),
)
"""Everybody else is who they say, gets their code and owns their account."""

_QUESTIONS = {
    "has_regular_income": {
        "en": "Do you have a regular income?",
        "ar": "هل لديك دخل منتظم؟",
        "hi": "क्या आपकी नियमित आय है?",
    },
    "is_employed": {
        "en": "Does most of your income come from employment?",
        "ar": "هل يأتي معظم دخلك من وظيفة؟",
        "hi": "क्या आपकी अधिकतर आय नौकरी से आती है?",
    },
    "has_income_from_abroad": {
        "en": "Does any of your income come from another country?",
        "ar": "هل يأتي جزء من دخلك من بلد آخر؟",
        "hi": "क्या आपकी आय का कोई भाग किसी दूसरे देश से आता है?",
    },
}


class SandboxKyc:
    """Says yes to everybody but TEST_PEOPLE.

    `deliver(phone, code)` puts a code where the sandbox shows text messages; `key` is secret.
    """

    def __init__(self, key: bytes, deliver: Callable[[str, str], Awaitable[None]]) -> None:
        self._key = key
        self._deliver = deliver

    async def knows(self, person: Person) -> bool:
        """Whether there is such a person."""
        return person.national_id != UNKNOWN_TO_THE_REGISTER

    async def questions(self, language: str) -> Sequence[Question]:
        """Three about income; none of the answers has a consequence."""
        return [
            Question(name, texts.get(language, texts["en"])) for name, texts in _QUESTIONS.items()
        ]

    async def send_code(self, reference: str, person: Person) -> None:
        """Show a code in the sandbox's mailbox."""
        if person.national_id == WITHOUT_SIGNAL:
            raise ProviderTransient("the sandbox sends this person no code")
        await self._deliver(person.phone, self._code(reference))

    async def is_code(self, reference: str, code: str) -> bool:
        """Whether `code` is the one that was sent under `reference`."""
        return hmac.compare_digest(self._code(reference).encode(), code.encode())

    async def owns(self, person: Person, iban: str, bic: str) -> bool:  # noqa: ARG002
        """Whether this bank account is that person's."""
        return person.national_id != WITHOUT_ACCOUNT

    def _code(self, reference: str) -> str:
        digest = hmac.digest(self._key, reference.encode(), "sha256")
        return f"{int.from_bytes(digest[:8], 'big') % 10**CODE_DIGITS:0{CODE_DIGITS}d}"
