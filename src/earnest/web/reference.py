"""The **reference** of the API for people who read a repository: docs/reference/endpoints.md and
errors.md, from the same operations as /openapi.json.

Invariant: every operation is in the one, and every error that it declares in the other.
"""

from collections.abc import Iterable, Sequence
from http import HTTPStatus

from earnest.errors import EarnestError, code_of
from earnest.web import openapi_texts as texts
from earnest.web.operations import Operation

ENDPOINTS_HEAD = """\
# Endpoints

Generated from the routes by `make docs`. A running server shows them at `/docs` with parameters,
bodies and recorded examples, and at `/openapi.json` for programs. What an error means is in
[errors.md](errors.md). Beside the errors of each operation: 400 `invalid_field` wherever something
is sent, 401 and 403 wherever a token is asked for, 503 wherever the database is. A `key` is an
`Idempotency-Key`: repeated with it, a request is carried out once.

"""

ERRORS_HEAD = """\
# Errors

Generated from the routes by `make docs`. Every refusal of the marketplace API is a problem (RFC
9457) with the `code`, and the same text as `detail`, `error` and `message`; `field` names what is
to blame. Partners read the text in their envelope, and of tokens what RFC 6749 says. Texts in which
something is counted or named are more precise than these. Any request may also be refused with 503
`busy` when there are too many (docs/operators.md), and before it is read as far as a route by the
server itself, in the same shape.

"""

_EVERYWHERE = 12
"""Beyond so many operations it says so instead of naming them."""


def endpoints_reference(operations: Sequence[Operation]) -> str:
    """Markdown: a table for each tag, in the order of the tags."""
    common = _common(operations)
    sections = []
    for tag, text in texts.TAGS.items():
        rows = [_row(one, operations, common) for one in operations if _is_of(one, tag)]
        if rows:
            head = [f"## {tag}", "", text, "", "| | who | key | errors of its own |"]
            sections.append("\n".join([*head, "|---|---|---|---|", *rows]))
    return "\n\n".join(sections) + "\n"


def errors_reference(operations: Sequence[Operation]) -> str:
    """Markdown: a table for each status, in their order."""
    where: dict[type[EarnestError], list[str]] = {}
    for one in operations:
        for refusal in _refusals(one):
            where.setdefault(refusal, []).append(one.alias_of or one.id)
    sections = []
    for status in sorted({refusal.status for refusal in where}):
        found = sorted((one for one in where if one.status == status), key=code_of)
        lines = [f"## {status} {HTTPStatus(status).phrase}", "", "| code | text | of |"]
        lines.append("|---|---|---|")
        lines += [f"| `{code_of(one)}` | {_text(one)} | {_named(where[one])} |" for one in found]
        sections.append("\n".join(lines))
    return "\n\n".join(sections) + "\n"


def _is_of(one: Operation, tag: str) -> bool:
    return one.alias_of is None and one.tags[:1] == (tag,)


def _row(
    one: Operation, operations: Iterable[Operation], common: frozenset[type[EarnestError]]
) -> str:
    summary, _ = texts.summary_of(one)
    paths = [one.path, *(other.path for other in operations if other.alias_of == one.id)]
    shown = "<br>".join(f"`{one.method} {path}`" for path in paths)
    who = ", ".join(sorted(one.access.roles)) or "anybody"
    own = [f"{each.status} `{code_of(each)}`" for each in _refusals(one) if each not in common]
    key = "key" if one.takes_key else ""
    return f"| {shown}<br>{_cell(summary)} | {who} | {key} | {', '.join(own)} |"


def _refusals(one: Operation) -> list[type[EarnestError]]:
    return [each for refusals in one.refusals.values() for each in refusals]


def _common(operations: Sequence[Operation]) -> frozenset[type[EarnestError]]:
    """The errors that follow from what is sent, who asks, and the database."""
    counts: dict[type[EarnestError], int] = {}
    for one in operations:
        for each in _refusals(one):
            if each not in one.handler.opt.get("refuses", ()):
                counts[each] = counts.get(each, 0) + 1
    return frozenset(counts)


def _named(operations: list[str]) -> str:
    names = list(dict.fromkeys(operations))
    if len(names) > _EVERYWHERE:
        return f"{len(names)} operations"
    return ", ".join(f"`{name}`" for name in names)


def _text(refusal: type[EarnestError]) -> str:
    return _cell(" ".join((refusal.__doc__ or "").split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
