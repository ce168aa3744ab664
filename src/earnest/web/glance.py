"""A **glance** at a request, which is enough to refuse it and not enough to answer it.

Refusing must cost next to nothing, and more than half of what it cost was reading the request.
Invariant: what a glance takes for a request is all of it and nothing more, for the parser, too;
whatever is not as plain as what clients of an API send is left to the parser.
"""

import re

from earnest.web.kinds import API

# Without two ways to read anything, so that no bytes are walked over more than twice.
_PLAIN = re.compile(
    rb"(GET|POST|PUT|PATCH|DELETE) ((?:" + "|".join(API).encode() + rb")[!-~]*) HTTP/1\.1\r\n"
    rb"(?i:(?:content-length: ?([0-9]{1,6})\r\n"
    rb"|(?!content-length:|transfer-encoding:|connection:(?! ?keep-alive\r)"
    rb"|upgrade:|expect:|origin:)[!#$%&'*+.^_`|~0-9a-z-]+:[\t -~]*\r\n)*)\r\n"
)
_LENGTH = b"content-length:"


def glance(data: bytes) -> tuple[str, str] | None:
    """Method and path of the plain request to an API that `data` is; None if it is anything else.

    >>> glance(b"GET /api/jobs?page=2 HTTP/1.1\\r\\nHost: a.example\\r\\n\\r\\n")
    ('GET', '/api/jobs')
    >>> glance(b"GET /api/jobs HTTP/1.1\\r\\nHost: a.example\\r\\n\\r\\nGET")
    """
    seen = _PLAIN.match(data)
    if seen is None or seen.end() + int(seen[3] or 0) != len(data):
        return None
    if seen[3] is not None and seen[0].lower().count(_LENGTH) != 1:
        return None
    return str(seen[1], "ascii"), str(seen[2].partition(b"?")[0], "ascii")
