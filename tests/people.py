"""Omar in front of the onboarding pages: forms filled in and sent as a browser without scripts.

visit = await Visit.begin(broker, browser)
await visit.through(Step.BANK_ACCOUNT)          up to that page
answer = await visit.send(BANK_ACCOUNT)      its form
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest

from earnest.actions.onboarding import Step
from partners import Broker
from web import Caller

OMAR = {"phoneNumber": "966500000002", "firstName": "Omar", "lastName": "K"}
PERSON = {
    "first_name": "Omar",
    "last_name": "Khalid",
    "national_id": "2087654321",
    "born": "1991-07-14",
}
ANSWERS = {"has_regular_income": "yes", "is_employed": "no", "has_income_from_abroad": "no"}
BANK_ACCOUNT = {"iban": "SA03 8000 0000 6080 1016 7519", "bic": "rjhisari"}


class Visit(msgspec.Struct):
    """Somebody with a link, in a browser that follows its redirects."""

    broker: Broker
    browser: httpx.AsyncClient
    url: str
    phone: str

    @classmethod
    async def begin(cls, broker: Broker, browser: httpx.AsyncClient, **told: Any) -> "Visit":
        made = await broker.client.post("/apps/api/user", json=OMAR | told)
        assert made.status_code == 200, made.text
        url = made.json()["data"]["kycUrl"]
        return cls(broker, browser, path_of(url), (OMAR | told)["phoneNumber"])

    async def look(self) -> httpx.Response:
        return await self.browser.get(self.url)

    async def send(self, fields: Mapping[str, str], step: Step | None = None) -> httpx.Response:
        """The form of the present page, or of `step`; a redirect of ours is followed."""
        shown = step or await self.step()
        answer = await self.browser.post(self.url, data={"step": str(shown), **fields})
        if answer.status_code == 303 and answer.headers["location"].startswith("/"):
            self.url = answer.headers["location"]
        return answer

    async def step(self) -> Step | None:
        """Which form is on the page."""
        page = await self.look()
        assert page.status_code == 200, page.text
        found = re.search(r'name="step" value="(\w+)"', page.text)
        return Step(found[1]) if found else None

    async def code(self) -> str:
        """The newest one in the mailbox."""
        answer = await self.browser.get("/sandbox/mailbox", params={"to": self.phone})
        return str(answer.json()[0]["code"])

    async def codes(self) -> list[str]:
        """All of them, newest first."""
        answer = await self.browser.get("/sandbox/mailbox", params={"to": self.phone})
        return [one["code"] for one in answer.json()]

    async def through(self, until: Step | None = None) -> None:
        """All steps before `until`, or all there are."""
        for step in Step:
            if step is until:
                return
            form: Mapping[str, str] = PERSON
            if step is Step.QUESTIONS:
                form = ANSWERS
            elif step is Step.CODE:
                form = {"code": await self.code()}
            elif step is Step.BANK_ACCOUNT:
                form = BANK_ACCOUNT
            answer = await self.send(form, step)
            assert answer.status_code == 303, answer.text

    async def standing(self) -> dict[str, Any]:
        """What the partner is told."""
        answer = await self.broker.client.get(
            "/apps/api/user/onboarding", params={"phoneNumber": self.phone}
        )
        data: dict[str, Any] = answer.json()["data"]
        return {name: value for name, value in data.items() if isinstance(value, bool)}

    async def advance(self, seconds: int) -> None:
        answer = await self.browser.post("/sandbox/clock", json={"advance_seconds": seconds})
        assert answer.status_code == 200

    async def renew(self) -> None:
        """A new link for the same person."""
        answer = await self.broker.client.get(
            "/apps/api/user/onboarding", params={"phoneNumber": self.phone}
        )
        self.url = path_of(answer.json()["data"]["onboardingUrl"])

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.url).query)["token"][0]


def path_of(url: str) -> str:
    """A URL of ours without its host."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def errors(page: httpx.Response) -> list[str]:
    """Which inputs a page complains about."""
    return re.findall(r'<li><a href="#(\w+)">', page.text)


@pytest.fixture
async def visit(broker: Broker, api: Caller) -> Visit:
    """Somebody at the first page of their onboarding."""
    return await Visit.begin(broker, api)
