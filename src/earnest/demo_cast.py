"""The **cast** of the demo: people who sign in over HTTP and send requests, as any client would.

Invariant: a request that was refused ends the story with the server's own words.
"""

from typing import Any

import httpx
import msgspec

from earnest.supervisor import CannotServe

PASSWORD = "Demo@123"  # noqa: S105  known to everybody, for a sandbox on this machine


class StoryFailed(CannotServe):
    """The story could not be told."""


class Person(msgspec.Struct):
    """Somebody signed in; `id` is the public user id."""

    name: str
    email: str
    id: str
    client: httpx.Client

    def send(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        """The JSON answer to one request, which must succeed; done once if it has a `key`."""
        headers = {"Idempotency-Key": key} if key else {}
        return answered(self.client.request(method, path, json=body, headers=headers))


def sign_up(anybody: httpx.Client, name: str, email: str, role: str) -> Person:
    """Register, read the mailed code, verify it, sign in."""
    wanted = {"name": name, "email": email, "password": PASSWORD, "role": role}
    answered(anybody.post("/api/auth/register", json=wanted))
    mail = answered(anybody.get("/sandbox/mailbox", params={"to": email}))
    code = {"email": email, "otp": mail[0]["code"], "userData": wanted}
    answered(anybody.post("/api/auth/verify-otp", json=code))
    person = sign_in(anybody, email)
    assert person is not None
    return person


def sign_in(anybody: httpx.Client, email: str) -> Person | None:
    """None when there is no such account yet."""
    answer = anybody.post("/api/auth/login", json={"email": email, "password": PASSWORD})
    if answer.status_code == 404:
        return None
    signed_in = answered(answer)
    user = signed_in["user"]
    headers = {"Authorization": f"Bearer {signed_in['accessToken']}"}
    client = httpx.Client(base_url=anybody.base_url, headers=headers, timeout=30, trust_env=False)
    return Person(user["name"], email, user["id"], client)


def answered(answer: httpx.Response) -> Any:
    """The JSON of an answer. Raises StoryFailed for a refusal."""
    if not answer.is_success:
        request = answer.request
        raise StoryFailed(f"{request.method} {request.url.path}: {answer.text}")
    return answer.json()


def money(amount: Any) -> str:
    """45000 -> 45,000.00"""
    return f"{amount:,.2f}"
