"""**Straight** routes: the hottest requests, past the framework's way to their handlers.

Litestar's way (routes, exceptions, parameters, responses, each for the general case) is a quarter
of what it costs to show a contract or to release one, and half of what a forged provider event
costs. A handler that declares `straight=True` takes the request, and as a GET or PUT also the last
segment of its path; nothing else. Invariant: whoever asks gets the same bytes as by Litestar's way,
which everything takes that is not exactly such a request.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Litestar
from litestar.routes import HTTPRoute

from earnest.web import problems
from earnest.web.auth import admit
from earnest.web.guard import EarnestRequest


class _Route(msgspec.Struct, frozen=True):
    """A handler, the template of its path and the name of the last segment, None for a path that
    has no parameters."""

    handler: Any
    template: str
    parameter: str | None


class Straight:
    """The ASGI application in front of `app`'s own."""

    def __init__(self, app: Litestar) -> None:
        self._framework = app.asgi_handler
        self._routes = dict(_routes(app))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        method, path = scope["method"], scope["path"]
        arguments: tuple[str, ...] = ()
        route = self._routes.get((method, path))
        if route is None:
            head, _, segment = path.rpartition("/")
            route = self._routes.get((method, head, "")) if segment else None
            if route is None or route.parameter is None:
                await self._framework(scope, receive, send)
                return
            scope["path_params"] = {route.parameter: segment}
            arguments = (segment,)
        else:
            scope["path_params"] = {}
        scope["path_template"] = route.template
        scope["route_handler"] = route.handler
        request = EarnestRequest(scope, receive, send)
        try:
            await admit(request)
            answer = await route.handler.fn(request, *arguments)
        except Exception as error:  # noqa: BLE001 - as Litestar does, with the same renderers
            answer = problems.answer(request, error)
        await answer.to_asgi_response(None, request)(scope, receive, send)


def _routes(app: Litestar) -> Iterator[tuple[tuple[str, ...], _Route]]:
    """By method and path, or by method and what stands before the last segment. Raises LookupError
    for a handler that cannot be called this way."""
    for route in app.routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            if not handler.opt.get("straight"):
                continue
            (method,) = handler.http_methods
            head, _, last = route.path_format.rpartition("/")
            named = list(inspect.signature(handler.fn).parameters)
            if named == ["request"] and "{" not in route.path_format:
                key: tuple[str, ...] = (method, route.path_format)
                yield key, _Route(handler, route.path_format, None)
            elif (
                method in ("GET", "PUT")
                and named == ["request", last.strip("{}")]
                and "{" not in head
            ):
                yield (method, head, ""), _Route(handler, route.path_format, named[1])
            else:
                raise LookupError(f"{route.path} is not straight")
