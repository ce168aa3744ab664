"""Which calls of Stripe's API the product makes, by its own source and the SDK's; and whether a
form has only what Stripe knows there.

A **call** is a method, a path and the SDK's type of the parameters. Invariant: the list is read
from the source, so that no test of "every call" leaves out a new one.
"""

import ast
import importlib
import inspect
import operator
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
import stripe
from stripe._stripe_object import UntypedStripeObject
from typing_extensions import is_typeddict

from earnest import providers
from stripe_wire import alternatives, fields_of

PROVIDERS = Path(providers.__file__).parent
_REQUEST = re.compile(r'"(get|post|delete)",\s+"(/v[0-9]/[^"]*)"')
_PARAMS = re.compile(r'params: (?:Optional\[)?"(\w+)"')


class StripeCall(msgspec.Struct, frozen=True):
    """`path` is Stripe's, such as /v1/transfers/{id}; `known` is a TypedDict."""

    method: str
    path: str
    known: type

    def meets(self, method: str, path: str) -> bool:
        pattern = "[^/]+".join(map(re.escape, re.split(r"\{\w+\}", self.path)))
        return method == self.method and re.fullmatch(pattern, path) is not None


def calls() -> list[StripeCall]:
    """All that src/earnest/providers asks of the SDK's client."""
    client = stripe.StripeClient("sk_test_of_nobody")
    return [_call(operator.attrgetter(name)(client)) for name in sorted(set(_names()))]


def _names() -> Iterator[str]:
    """v1.transfers.reversals.create_async"""
    for path in PROVIDERS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if name.startswith("self._client.") and name.endswith("_async"):
                yield name.removeprefix("self._client.")


def _call(method: Any) -> StripeCall:
    source = inspect.getsource(method)
    (request,) = _REQUEST.findall(source)
    (params,) = _PARAMS.findall(source)
    # The types of stripe.checkout._session_service are in stripe.params.checkout.
    inside = method.__module__.removeprefix("stripe").rpartition(".")[0]
    known = getattr(importlib.import_module(f"stripe.params{inside}"), params)
    return StripeCall(request[0].upper(), request[1], known)


# -- forms ----------------------------------------------------------------------------------


def names(form: str) -> list[str]:
    """The names in a form, brackets and all: line_items[0][quantity]."""
    return [name for name, _ in urllib.parse.parse_qsl(form, keep_blank_values=True)]


def unknown(form: str, known: type) -> list[str]:
    """The names in a form that Stripe does not know there."""
    return [name for name in names(form) if not _leads_somewhere(name, known)]


def missing(form: str, known: type) -> set[str]:
    """What Stripe requires of the outermost parameters and the form has not."""
    required: frozenset[str] = getattr(known, "__required_keys__", frozenset())
    return set(required & fields_of(known).keys()) - {name.split("[")[0] for name in names(form)}


def _leads_somewhere(name: str, known: type) -> bool:
    hints: list[Any] = [known]
    for part in (each.rstrip("]") for each in name.split("[")):
        hints = [deeper for hint in hints for deeper in _inside(hint, part)]
    return any(not is_typeddict(hint) and get_origin(hint) not in (list, dict) for hint in hints)


def _inside(hint: Any, part: str) -> list[Any]:
    """What there may be under a key or a position of what there may be."""
    if is_typeddict(hint):
        return list(alternatives(fields_of(hint)[part])) if part in fields_of(hint) else []
    if get_origin(hint) is list and re.fullmatch("[0-9]+", part):
        return list(alternatives(get_args(hint)[0]))
    if get_origin(hint) in (dict, UntypedStripeObject):
        return [get_args(hint)[-1]]
    return []


def misspelt(form: str) -> Iterator[tuple[str, str]]:
    """Each name of the form, and the form with that one name misspelt; a key of metadata and a
    position in a list are no names of Stripe's."""
    pairs = urllib.parse.parse_qsl(form, keep_blank_values=True)
    for name, value in pairs:
        wrong = _misspelt(name)
        others = [(other, each) for other, each in pairs if other != name]
        yield name, urllib.parse.urlencode([*others, (wrong, value)])


def _misspelt(name: str) -> str:
    parts = [part.rstrip("]") for part in name.split("[")]
    own = parts.index("metadata") + 1 if "metadata" in parts else len(parts)
    last = max(n for n in range(own) if not re.fullmatch("[0-9]*", parts[n]))
    parts[last] += "x"
    return parts[0] + "".join(f"[{part}]" for part in parts[1:])
