"""A **browser** as far as the server can tell: one cookie jar, and pages of one origin whose
scripts send requests.

    browser = Browser("http://127.0.0.1:8000", page="http://127.0.0.1:5173")
    answer = await browser.send("PUT", "/api/...", body={...}, bearer=token)

It asks first where browsers do (CORS), takes only the cookies that browsers take, and hands a
script nothing that the server did not let this origin read: `Unreadable` is what the console
would say. `NodeAdapter` is the same client outside a browser, as its calls were captured.
"""

import json
from typing import ClassVar
from urllib.parse import urlsplit

import httpx

STORE = "accessToken"
ACCEPT = "application/json, text/plain, */*"


class Unreadable(Exception):
    """The browser keeps an answer, or even the request, from the script."""


class NodeAdapter:
    """The client without a browser: no origin, no question first, and `Content-Type` on every
    request. Its jar holds cookies all the same."""

    untyped: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.http = httpx.AsyncClient(base_url=url, transport=transport, trust_env=False)
        self.sent: list[str] = []
        self._stored: str | None = None
        self._shares_host = True

    async def send(
        self, method: str, path: str, *, body: object = None, bearer: str | None = None
    ) -> httpx.Response:
        """One request, with whatever cookies belong to it.

        `body` is sent as JSON; None is no body, which for a method that could have one is
        `Content-Length: 0`.
        """
        headers = {"accept": ACCEPT}
        if method not in self.untyped:
            headers["content-type"] = "application/json"
        if bearer is not None:
            headers["authorization"] = f"Bearer {bearer}"
        content = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        request = self.http.build_request(method, path, content=content, headers=headers)
        if content is None and method not in ("GET", "DELETE"):
            assert request.headers["content-length"] == "0"
        self.sent.append(f"{method} {path}")
        return await self._exchange(request)

    @property
    def stored(self) -> str | None:
        """The access token, which scripts keep in a cookie of their own."""
        return self._stored

    def store(self, token: str | None) -> None:
        """Keep an access token, or forget it. The cookie goes to the server as well where that
        has the host of the client's pages."""
        self._stored = token
        if self._shares_host:
            self._set_cookie(STORE, token)

    def _set_cookie(self, name: str, value: str | None) -> None:
        jar = self.http.cookies.jar
        for cookie in [one for one in jar if one.name == name]:
            jar.clear(cookie.domain, cookie.path, cookie.name)
        if value is not None:
            self.http.cookies.set(name, value, self.http.base_url.host)

    async def close(self) -> None:
        await self.http.aclose()

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        return await self.http.send(request)


class Browser(NodeAdapter):
    """See the module. `page` is the origin of the client's pages."""

    # Browsers drop the type of a body that is not there to begin with.
    untyped: ClassVar[frozenset[str]] = frozenset({"GET", "DELETE"})

    def __init__(
        self, url: str, page: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        super().__init__(url, transport)
        self.page = page
        self._asked: set[tuple[str, str, str]] = set()
        self._shares_host = urlsplit(page).hostname == self.http.base_url.host

    async def _exchange(self, request: httpx.Request) -> httpx.Response:
        await self._ask_first(request)
        request.headers["origin"] = self.page
        request.headers["referer"] = f"{self.page}/"
        answer = await self.http.send(request)
        self._take_cookies(answer)
        self._require_readable(answer)
        return answer

    async def _ask_first(self, request: httpx.Request) -> None:
        names = ",".join(
            sorted(name for name in ("authorization", "content-type") if name in request.headers)
        )
        asked = (request.method, str(request.url), names)
        if asked in self._asked or (request.method in ("GET", "POST") and not names):
            return
        question = self.http.build_request("OPTIONS", request.url)
        question.headers.pop("cookie", None)  # nobody is asked who they are
        question.headers["origin"] = self.page
        question.headers["access-control-request-method"] = request.method
        if names:
            question.headers["access-control-request-headers"] = names
        answer = await self.http.send(question)
        self._require_readable(answer)
        if not 200 <= answer.status_code < 300:
            raise Unreadable(f"preflight of {request.method} {request.url}: {answer.status_code}")
        if request.method not in ("GET", "POST") and request.method not in _listed(
            answer, "methods"
        ):
            raise Unreadable(f"{request.method} is not allowed")
        if not {name for name in names.split(",") if name} <= {
            name.lower() for name in _listed(answer, "headers")
        }:
            raise Unreadable(f"{names} are not allowed")
        self._asked.add(asked)

    def _require_readable(self, answer: httpx.Response) -> None:
        allowed = answer.headers.get_list("access-control-allow-origin")
        trusted = answer.headers.get_list("access-control-allow-credentials")
        if (allowed, trusted) != ([self.page], ["true"]):
            raise Unreadable(f"{answer.request.method} {answer.request.url}: {allowed} {trusted}")

    def _take_cookies(self, answer: httpx.Response) -> None:
        """On an answer from another site a cookie must be `SameSite=None; Secure`."""
        for line in answer.headers.get_list("set-cookie"):
            name, *others = (part.strip() for part in line.split(";"))
            attributes = {one.lower() for one in others}
            assert "httponly" in attributes, "no script of the client may read it"
            if not self._shares_host and not {"samesite=none", "secure"} <= attributes:
                self._set_cookie(name.partition("=")[0], None)


def _listed(answer: httpx.Response, what: str) -> set[str]:
    value = answer.headers.get(f"access-control-allow-{what}", "")
    return {one.strip() for one in value.split(",")}
