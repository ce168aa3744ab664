"""The **recorder** of examples: requests to a running server, kept with their answers.

Invariant: what differs from run to run (ids, instants, tokens, codes) is replaced by a fixed text
of the same shape, the same one wherever it stood for the same thing; so two runs of the same
requests leave the same bytes.
"""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx

from earnest.web.openapi import Example
from earnest.web.operations import Operation

METRICS_LINES = 6


class NotAsTold(Exception):
    """A request in the scenario was answered otherwise than it says."""


class Recorder:
    """Asks, and keeps what is worth showing."""

    def __init__(self, http: httpx.AsyncClient, operations: list[Operation]) -> None:
        self.operations = {one.id: one for one in operations}
        self.tokens: dict[str, str] = {}
        self.examples: list[Example] = []
        self._http = http
        self._stable = Stable(str(http.base_url).rstrip("/"))

    async def ask(
        self,
        who: str,
        of: str,
        title: str = "",
        *,
        status: int = 0,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        raw: bytes | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Any:
        """Let `who` ask operation `of`, which must answer `status` (0: that of its success).

        Kept if it has a `title`. Returns the answer's JSON, or its text. Raises NotAsTold.
        """
        operation = self.operations[of]
        url = operation.path.format(**(path or {}))
        answer = await self._http.request(
            operation.method,
            url,
            params=query,
            headers={**self._authorization(who), **(headers or {}), **(_FORM if form else {})},
            content=urlencode(form).encode() if form else _encoded(body) if raw is None else raw,
        )
        if answer.status_code != (status or operation.status):
            raise NotAsTold(f"{who}: {operation.method} {url}: {answer.status_code} {answer.text}")
        found = _read(answer)
        if title:
            sent = body if form is None else dict(form)
            self.keep(
                of, title, answer.status_code, path or {}, query or {}, headers or {}, sent, found
            )
        return found

    async def try_out(self, who: str, of: str, path: Mapping[str, str], **sent: Any) -> None:
        """Ask what should be refused, and keep the refusal, once per code and field."""
        operation = self.operations[of]
        answer = await self._http.request(
            operation.method,
            operation.path.format(**path),
            params=sent.get("query"),
            headers=self._authorization(who),
            content=_encoded(sent.get("body")),
        )
        if answer.status_code < 400:
            return
        found = _read(answer)
        known = {(one.of, _code(one.answer)) for one in self.examples if one.status >= 400}
        if (of, _code(found)) not in known:
            self.keep(
                of, _words(found), answer.status_code, path, sent.get("query") or {}, {},
                sent.get("body"), found,
            )  # fmt: skip

    def keep(
        self,
        of: str,
        title: str,
        status: int,
        path: Mapping[str, str],
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: Any,
        answer: Any,
    ) -> None:
        """As an example, in stable words."""
        stable = self._stable
        self.examples.append(
            Example(
                of=of,
                title=title,
                path=stable(dict(path)),
                query=stable(dict(query)),
                headers={name: of for name, of in headers.items() if name == "Idempotency-Key"},
                body=stable(body),
                status=status,
                answer=stable(answer),
            )
        )

    def _authorization(self, who: str) -> dict[str, str]:
        token = self.tokens.get(who)
        sent = {"Content-Type": "application/json"}
        return sent | {"Authorization": f"Bearer {token}"} if token else sent


class Stable:
    """Values with everything accidental in their texts replaced."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self._seen: dict[str, dict[str, int]] = {}

    def __call__(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: _BY_NAME.get(name, self(of)) for name, of in value.items()}
        if isinstance(value, list):
            return [self(of) for of in value]
        if not isinstance(value, str):
            return value
        text = value.replace(self._base_url, "https://escrow.example")
        for pattern, word in _FIXED:
            text = pattern.sub(word, text)
        text = _ID.sub(lambda found: f"66aa{self._number('id', found[0]):020x}", text)
        text = _NUMBER.sub(lambda found: f"CON{self._number('CON', found[0]) + 48120376}", text)
        text = _PARTNERS_NUMBER.sub(
            lambda found: f"CNT-2605-{self._number('CNT', found[0]) + 41327716:08d}", text
        )
        text = _REFERENCE.sub(
            lambda found: f"USR_20260501090000_{self._number('USR', found[0]) + 1000}", text
        )
        text = _SESSION.sub(lambda found: f"cs_sandbox_{self._number('cs', found[0])}", text)
        text = _AT_PROVIDER.sub(
            lambda found: f"{found[1]}_sandbox_{self._number(found[1], found[0])}", text
        )
        return _ACCOUNT.sub(
            lambda found: f"{found[1]}{self._number(found[1], found[2])}{found[3]}", text
        )

    def _number(self, kind: str, text: str) -> int:
        """The first of its kind is 1."""
        seen = self._seen.setdefault(kind, {})
        return seen.setdefault(text, len(seen) + 1)


_BY_NAME = {
    "durationMs": 120,
    "DueDate": "2026-06-01T00:00:00.000Z",
    "previousHash": "0" * 64,
    "hash": "f" * 64,
}
"""What has another value each time, and in an answer always this one."""
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_ID = re.compile(r"\b[0-9a-f]{24}\b")
_NUMBER = re.compile(r"\bCON[0-9]{8}\b")
_PARTNERS_NUMBER = re.compile(r"\bCNT-[0-9]{4}-[0-9]{8}\b")
_REFERENCE = re.compile(r"\bUSR_[0-9]{14}_[0-9]{4}\b")
_SESSION = re.compile(r"\bcs_[A-Za-z0-9_-]+")
_AT_PROVIDER = re.compile(r"\b(pi|re|du|tr|po)_test_[\w-]{32}(?![\w-])")
_ACCOUNT = re.compile(r"\A([a-z_]+:(?:[A-Z]{3}:)?)([0-9]+)((?::[0-9]+)?)\Z")
_FIXED = (
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+"), "header.claims.signature"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "token-of-the-link"),
    (re.compile(r"(?:\A|(?<=token=))A[Qg][\w-]{48}(?![\w-])"), "token-of-the-page"),
    (re.compile(r"(?<=/sandbox/onboarding/)[\w-]{43}\Z"), "token-of-the-page"),
    (re.compile(r"\bes_[\w-]{43}"), "es_shown-once"),
    (re.compile(r"\bec_[0-9a-z]{24}\b"), "ec_demobroker"),
    (re.compile(r"\bwhsec_[0-9A-Za-z]{48}\b"), "whsec_shown-once"),
    (re.compile(r"\bwhsec_\*{8}[0-9A-Za-z]{4}\b"), "whsec_********once"),
    (re.compile(r"\A[\w-]{43}\Z"), "thumbprint-of-the-key"),
    (re.compile(r"\A[\w-]{342}\Z"), "modulus-of-the-key"),
    (
        re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
        "0192a0de-0000-7000-8000-000000000001",
    ),
    (
        re.compile(r"\b20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z"),
        "2026-05-01T09:00:00.000Z",
    ),
    (
        re.compile(r"\b20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{6}\+00:00"),
        "2026-05-01T09:00:00.123456+00:00",
    ),
    (re.compile(r"\A[0-9]{2}-[0-9]{2}-[0-9]{2}\Z"), "01-05-26"),
    (re.compile(r"\A20[0-9]{2}-[0-9]{2}\Z"), "2026-05"),
    (re.compile(r"\A20(2[6-9]|[3-9][0-9])-[0-9]{2}-[0-9]{2}\Z"), "2026-05-01"),
    (re.compile(r"\b[0-9]{6}\b"), "123456"),
)


def _code(refusal: dict[str, Any]) -> str:
    """What tells refusals apart: the code, or what the partner API and RFC 6749 have instead."""
    return str(refusal.get("code") or refusal.get("message") or refusal["error"])


def _words(refusal: dict[str, Any]) -> str:
    found = refusal.get("detail") or refusal.get("error_description")
    return str(found or refusal["errors"][0])


def _encoded(body: Any) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _read(answer: httpx.Response) -> Any:
    if "json" in answer.headers["content-type"]:
        return answer.json()
    lines = answer.text.splitlines()
    told = [line for line in lines if line.startswith("# ")]
    return "\n".join(told[:METRICS_LINES] or lines) + ("\n..." if told else "")
