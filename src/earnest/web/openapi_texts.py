"""What the description says in sentences: the ground rules, tags, headers, parameters."""

import re
from typing import Any

from earnest.domain.job import Level
from earnest.providers import signature
from earnest.store.jobs import OPEN_SORTED
from earnest.web.envelope import headers_around
from earnest.web.guard import BODY_BYTES_MAX
from earnest.web.operations import Operation
from earnest.web.tokens import REFRESH_COOKIE

Description = dict[str, Any]

LEAD = (
    "A client hires a freelancer for a job; the client's money is held and then released or "
    "refunded, by an admin's decision and by rules that nobody can bend. Everything here is "
    "generated from the code that answers, and every example was recorded from a running server."
)

GROUND_RULES = {
    "Who is calling": (
        "`Authorization: Bearer` with the `accessToken` of `/api/auth/login`. Roles are client, "
        "freelancer and admin; an account has one. Where anybody may look, nobody in particular "
        "sees names and ids only (an operator may turn that off: then it is 401)."
    ),
    "Ids": "24 hexadecimal digits under `_id`, sortable by time.",
    "Money": "A JSON number in major units: `12000.5`. Never a string.",
    "Instants": "ISO 8601 in UTC with milliseconds: `2026-05-01T09:00:00.000Z`.",
    "Bodies": (
        f"JSON in UTF-8 without a key twice, {BODY_BYTES_MAX // 1024} KiB at most. Unknown fields "
        "are ignored."
    ),
    "Errors": (
        "`application/problem+json`. `code` is for programs, `detail` for people (`error` and "
        "`message` repeat it for older clients), `field` names what to blame. 403 is about who you "
        "are: role, ownership, a block. It is never about the state of things."
    ),
    "Retries": (
        "Send an `Idempotency-Key` with any change. The same request with the same key is done "
        "once, and its answer is given again with `Idempotent-Replayed: true`. Keys of requests "
        "that move money are kept for ever, others for 7 days."
    ),
    "Lists": "1,000 entries at most without `page` and `limit`; 100 on a page.",
}

EVERY_REQUEST = (
    "Not repeated below: 404 `not_found` for a path that is not here; 405 with `Allow` for a "
    "method that is not; and, before anything is read, 400, 408, 413, 414, 421 (not our host), "
    "431 and 503 (too many connections) from the connection itself. All of them are problems in "
    "JSON. HEAD is answered wherever GET is. Whatever the answer, it has "
    + ", ".join(f"`{name.decode().title()}`" for name, _ in headers_around(is_https=True))
    + " (the last over https only)."
)

INFO: Description = {
    "title": "Earnest",
    "summary": "Escrow contracts between a client and a freelancer, on a double-entry ledger.",
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "description": "\n".join(
        [
            LEAD,
            "",
            "## Ground rules",
            "",
            *(f"- **{name}**: {text}" for name, text in GROUND_RULES.items()),
            "",
            "## What every request may come to",
            "",
            EVERY_REQUEST,
        ]
    ),
}

TAGS = {
    "Accounts": "Register with a mailed code, sign in, refresh, sign out, change a password.",
    "Jobs": "What clients want done.",
    "Applications": "Freelancers who want a job.",
    "Contracts": "Hire, approve, work, cancel, ask for the release. Each is served at two paths.",
    "Payments": "Paying for a job, and the events of the payment provider.",
    "Escrow": "What is held; releasing and refunding it. For admins.",
    "Money proof": "Where every paisa of one contract is, by the ledger.",
    "Wallets": "What released and refunded contracts have brought.",
    "Reviews": "What clients say of completed contracts.",
    "Profiles": "How clients and freelancers introduce themselves.",
    "Users": "Accounts as admins see them: lists, blocking, more admins.",
    "Categories and skills": "What jobs and profiles are sorted by.",
    "Businesses": "Partners as admins see them: their rules and credentials.",
    "Refunds": "What partners asked to give back and an admin has to agree to.",
    "Alerts": "What an operator has to see: alerts, dead letters, money that is held too long.",
    "Reconciliation": "Each day's books against the payment provider's. For admins.",
    "Payouts": "Money on its way out of wallets, as admins see it; those that are stuck.",
    "Chargebacks": "Payments that payers' banks want back, and what that costs. For admins.",
    "Partner tokens": "How a platform of its own signs in, and what verifies what we sign.",
    "Partner contracts": "For platforms of their own: contracts between their people.",
    "Partner money": "The buyer's checkout link, release, refund, and the proof of it all.",
    "Partner payouts": "What a business and its sellers have, on its way to their banks.",
    "Partner webhooks": "Where a platform hears of its events, and what became of each.",
    "Sandbox": "Not in production: the mailbox, the clock, and the banks of the sandbox.",
    "Operating": "What those who run the server ask it.",
}

PROBLEM: Description = {
    "title": "Problem",
    "type": "object",
    "description": "The body of every refusal (RFC 9457, and two fields for older clients).",
}
PROBLEM_FIELDS = {
    "title": "The name of the status.",
    "status": "The status.",
    "detail": "What is wrong, for people.",
    "error": "The same as `detail`.",
    "message": "The same as `detail`.",
    "code": "What is wrong, for programs.",
    "type": "`urn:earnest:problem:` and the code.",
    "field": "The field, parameter or header to blame, where there is one.",
}

HEADERS: Description = {
    "X-Request-Id": {
        "description": "This request's name in the server's log.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{8,64}$"},
    },
    "Cache-Control": {
        "description": "No cache may keep what is about people and money.",
        "required": True,
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "`true` if this is the answer of an earlier request with the same key.",
        "schema": {"type": "string", "const": "true"},
    },
    "Retry-After": {
        "description": "Seconds to wait before asking again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "What to send instead.",
        "required": True,
        "schema": {"type": "string", "const": "Bearer"},
    },
    "WWW-Authenticate-Basic": {
        "description": "What to send instead.",
        "required": True,
        "schema": {"type": "string", "pattern": "^Basic "},
    },
    "Set-Cookie": {
        "description": f"The cookie `{REFRESH_COOKIE}`, HttpOnly; empty once signed out.",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{REFRESH_COOKIE}="},
    },
}

SECURITY: Description = {
    "accessToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The `accessToken` of `/api/auth/login` or `/api/auth/refresh-token`.",
    },
    "partnerToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The `access_token` of `/connect/token`.",
    },
    "refreshCookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": REFRESH_COOKIE,
        "description": "Set by `/api/auth/login`. Names a reader; changes nothing but the session.",
    },
    "metricsToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "`EARNEST_METRICS_TOKEN`, where the operator has set it.",
    },
}

KEY: Description = {
    "description": "Do this once, however often it is sent. 1 to 255 printable ASCII characters.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": 255,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    },
    "example": "order-66",
}

SIGNATURE: Description = {
    "name": signature.HEADER,
    "in": "header",
    "required": True,
    "description": "`t=<unix time>,v1=<HMAC-SHA256 of time, dot and body in hex>`.",
    "schema": {"type": "string"},
}
EVENT: Description = {
    "type": "object",
    "description": "An event of the payment provider, as it was signed, byte for byte.",
    "additionalProperties": True,
}

_COUNTED = {"type": "integer", "minimum": 1, "maximum": 999_999}
QUERY: Description = {
    "page": {"description": "Counts from 1.", "schema": _COUNTED},
    "limit": {"description": "Entries on a page; 100 at most are given.", "schema": _COUNTED},
    "search": {
        "description": "Looked for literally, in any case.",
        "schema": {"type": "string", "maxLength": 100},
    },
    "filter": {
        "description": "An experience level.",
        "schema": {"type": "string", "enum": list(Level)},
    },
    "sort": {
        "description": "In which order; the newest first if left out.",
        "schema": {"type": "string", "enum": list(OPEN_SORTED)},
    },
    "status": {"description": "Only those with this status.", "schema": {"type": "string"}},
    "open": {
        "description": "Only those that nobody has seen to.",
        "schema": {"type": "string", "enum": ["true", "false"]},
    },
    "pageSize": {"description": "Entries on a page; 100 at most are given.", "schema": _COUNTED},
    "phoneNumber": {
        "description": "Country code and number, 8 to 15 digits.",
        "required": True,
        "schema": {"type": "string", "pattern": r"^[1-9][0-9]{7,14}$"},
    },
    "platformRefId": {
        "description": "Only those of this user.",
        "schema": {"type": "string", "pattern": r"^USR_[A-Za-z0-9_]{1,60}$"},
    },
    "event": {"description": "Only those of this type.", "schema": {"type": "string"}},
    "contractId": {
        "description": "Only those of this contract.",
        "schema": {"type": "string", "pattern": r"\ACNT-[0-9]{4}-[0-9]{8}\Z"},
    },
    "to": {
        "description": "Whose letters.",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    },
}


def summary_of(one: Operation) -> tuple[str, str]:
    """The first sentence of the handler's docstring, and all of it, with who may call."""
    told = re.sub(
        r"\A(C[0-9]+: )?(.)", lambda found: found[2].upper(), one.handler.fn.__doc__ or ""
    )
    paragraphs = [" ".join(part.split()) for part in told.split("\n\n")]
    summary = paragraphs[0].partition(". ")[0].rstrip(".")
    text = "\n\n".join([*paragraphs, _who(one)])
    if one.alias_of:
        text += f"\n\nThe same as `{one.alias_of}`, at the path that deployed clients use."
    return summary, text


def _who(one: Operation) -> str:
    access = one.access
    if access.roles:
        return f"Who: {', '.join(sorted(access.roles))}."
    if access.is_open or not access.is_read:
        return "Who: anybody."
    return "Who: anybody; what is shown depends on who looks."


def answer_of(one: Operation) -> str:
    """A success, in a few words."""
    return "Created." if one.status == 201 else "Done." if one.method != "GET" else "Found."
