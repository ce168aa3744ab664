"""**Pages**: HTML for people, made on the server, that work without scripts and without cookies.

    return show(request, "summary.html", leads_to=url, view=view)

The **language** of a page is `?lang=` of its URL, else what the browser prefers; every link, form
and redirect that is made with `link` carries it on. Invariants: a page asks nobody but this server
for anything, sends its address to nobody, is kept by no cache, and its forms go nowhere but here
and where `leads_to` says.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode

import jinja2
import msgspec
from litestar import MediaType, Request, Response

from earnest.checkout.wording import Language, language_for, wording
from earnest.providers.sandbox_rules import origin
from earnest.web.links import LinkExpired, LinkUnknown
from earnest.web.problems import Told

FORM_BYTES_MAX = 8 * 1024
FORM_FIELDS_MAX = 32
ANY_HTTPS = "https:"
_HERE = Path(__file__).parent
_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader([_HERE / "templates", _HERE.parent / "web" / "templates"]),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

AnyRequest = Request[Any, Any, Any]


class Choice(msgspec.Struct, frozen=True):
    """A language that a page offers, and the page's own URL in it."""

    language: Language
    url: str
    is_current: bool


# -- languages --------------------------------------------------------------------------------


def language_of(request: AnyRequest) -> Language:
    """The language to answer in. What is no language of ours is as good as nothing."""
    asked = request.query_params.get("lang", "")
    if asked in set(Language):
        return Language(asked)
    return language_for(request.headers.get("accept-language", ""))


def link(request: AnyRequest, path: str, **query: str) -> str:
    """`path` with `query` and the language of this page."""
    return f"{path}?{urlencode({**query, 'lang': language_of(request).value})}"


def _choices(request: AnyRequest) -> list[Choice]:
    current = language_of(request)
    kept = [(name, text) for name, text in request.query_params.multi_items() if name != "lang"]
    path = quote(request.scope["path"])
    return [
        Choice(one, f"{path}?{urlencode([*kept, ('lang', one.value)])}", one is current)
        for one in Language
    ]


# -- answers ----------------------------------------------------------------------------------


def show(
    request: AnyRequest,
    template: str,
    *,
    status_code: int = 200,
    leads_to: str | None = None,
    headers: Mapping[str, str] | None = None,
    **context: object,
) -> Response[str]:
    """A page. `leads_to` is the URL to which a form of it may be redirected in the end, or
    ANY_HTTPS where its origin is not known yet.

    Templates find `t` (their Wording), `link`, `choices`, `operator` (who holds the money) and
    what is in `context`.
    """
    language = language_of(request)

    def link_here(path: str, **query: str) -> str:
        return link(request, path, **query)

    html = _PAGES.get_template(template).render(
        t=wording(language),
        link=link_here,
        choices=_choices(request),
        operator=request.app.state.settings.operator_name,
        **context,
    )
    return Response(
        html,
        status_code=status_code,
        media_type=MediaType.HTML,
        headers={
            "Content-Security-Policy": content_security_policy(leads_to),
            "Content-Language": language.value,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            **(headers or {}),
        },
    )


def go(url: str) -> Response[str]:
    """303 to `url`."""
    headers = {"Location": url, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return Response("", status_code=303, media_type=MediaType.TEXT, headers=headers)


def refuse(request: AnyRequest, told: Told) -> Response[str]:
    """The page for a refusal: it says what to do, and nothing about the cause."""
    status, name = told.status, _PROBLEMS.get(told.status, "server")
    if isinstance(told.error, LinkExpired):
        status, name = 410, "expired"
    elif isinstance(told.error, LinkUnknown):
        name = "link"
    elif name == "server" and status < 500:
        name = "request"
    return show(request, "problem.html", status_code=status, headers=told.headers, name=name)


_PROBLEMS: dict[int, str] = {
    404: "nothing",
    405: "nothing",
    429: "busy",
    503: "busy",
}


def content_security_policy(leads_to: str | None) -> str:
    """Nothing but our style sheets, and forms that go nowhere else.

    Browsers hold the redirects after a form to form-action as well, so the one place where a
    form ends has to be named. (A policy cannot name an IPv6 address.)
    """
    form_action = "form-action 'self'"
    outside = leads_to if leads_to == ANY_HTTPS else origin(leads_to or "")
    if outside and "[" not in outside:
        form_action += f" {outside}"
    return (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; "
        f"{form_action}; base-uri 'none'; frame-ancestors 'none'"
    )


# -- forms ------------------------------------------------------------------------------------


async def form_of(request: AnyRequest) -> dict[str, str]:
    """The fields of a submitted form, the first of each; empty if it cannot be read."""
    try:
        fields = parse_qs((await request.body()).decode(), max_num_fields=FORM_FIELDS_MAX)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}
