"""The description as it is **served**: `/openapi.json` for programs, `/docs` for people.

Invariant: both are made once in a process, from the same document, and loading the page makes no
request to anybody else.
"""

import hashlib
from functools import cached_property
from pathlib import Path

import jinja2
import msgspec
from litestar import Litestar, MediaType, Response, get

from earnest import __version__
from earnest.marketplace.documents import JobBrief
from earnest.partner.envelope import Failure
from earnest.partner.token import TokenRefused
from earnest.web import openapi_texts
from earnest.web.auth import PUBLIC
from earnest.web.guard import EarnestRequest
from earnest.web.openapi import Description, describe
from earnest.web.openapi_pages import markup, schemas_shown, sections_of
from earnest.web.operations import Operation, operations

MENTIONED = (JobBrief, Failure, TokenRefused)
"""Structs that no operation's type leads to."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Served(msgspec.Struct, frozen=True):
    """Bytes and their name."""

    body: bytes
    etag: str


def _served(body: bytes) -> Served:
    return Served(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


class Described:
    """The description of one application."""

    def __init__(self, app: Litestar, public_url: str) -> None:
        self._app = app
        self._public_url = public_url.rstrip("/")

    @cached_property
    def operations(self) -> list[Operation]:
        return operations(self._app.routes)

    @cached_property
    def document(self) -> Description:
        return describe(self.operations, __version__, self._public_url, MENTIONED)

    @cached_property
    def json(self) -> Served:
        return _served(msgspec.json.encode(self.document))

    @cached_property
    def page(self) -> Served:
        template = _PAGES.get_template("docs.html")
        document = self.document
        html = template.render(
            api=document,
            texts=openapi_texts,
            markup=markup,
            sections=sections_of(document),
            schemas=schemas_shown(document),
        )
        return _served(html.encode())


@get("/openapi.json", access=PUBLIC, include_in_schema=False)
async def openapi_json(request: EarnestRequest) -> Response[bytes]:
    """This API, described for programs."""
    described: Described = request.app.state.described
    return _unless_known(request, described.json, MediaType.JSON)


@get("/docs", access=PUBLIC, include_in_schema=False)
async def docs(request: EarnestRequest) -> Response[bytes]:
    """This API, described for people."""
    described: Described = request.app.state.described
    answer = _unless_known(request, described.page, MediaType.HTML)
    answer.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return answer


def _unless_known(
    request: EarnestRequest, served: Served, media_type: MediaType
) -> Response[bytes]:
    """What is served, or 304 for who has it already (RFC 9110, 13.1.2)."""
    headers = {"ETag": served.etag, "Cache-Control": "no-cache"}
    known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    if "*" in known or served.etag in (one.removeprefix("W/") for one in known):
        return Response(b"", status_code=304, media_type=media_type, headers=headers)
    return Response(served.body, media_type=media_type, headers=headers)
