"""Every route of the application, from its own table, with real ids and somebody who may call it.

    for route in routes(world): answer = await route.ask(json={...})

A route is covered by the tests that use this from the day it exists.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import httpx
import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute

from deal import Deal
from earnest.domain.party import Role
from earnest.web.auth import access_of
from life import Life
from partners import Broker, make_broker
from web import UNKNOWN_ID, Caller, Cast
from world import ids_of

PAGES = ("/sandbox/pay/", "/sandbox/onboarding/", "/checkout", "/onboarding")
"""How the paths of pages for people begin."""

PATH_PARAMETER = re.compile(r"\{(\w+):(\w+)\}")


class World(msgspec.Struct, frozen=True):
    """A contract whose release is requested, another job with an application, and their ids; a
    partner with a contract of its own, whose id is among `partner_ids`."""

    cast: Cast
    ids: Mapping[str, str]
    broker: Broker
    partner_ids: Mapping[str, str]

    @classmethod
    async def of(cls, cast: Cast) -> "World":
        life = await Life.at(cast, "requested")
        other = await Life.begin(cast)
        broker = await make_broker(cast.app)
        deal = await Deal.begin(broker)
        return cls(
            cast, await ids_of(life, other), broker, {"contract_id": deal.made["contractId"]}
        )


class Route(msgspec.Struct, frozen=True):
    """One method of one path. `ids` stand in the place of its path parameters."""

    world: World
    method: str
    template: str
    handler: HTTPRouteHandler

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"

    @property
    def parameters(self) -> list[str]:
        """Of the path."""
        return [name for name, _ in PATH_PARAMETER.findall(self.template)]

    @property
    def queries(self) -> list[str]:
        """The names that its query may have."""
        known = {*self.parameters, "request", "data", "state"}
        return [name for name in self.handler.parsed_fn_signature.parameters if name not in known]

    @property
    def body(self) -> type[msgspec.Struct] | None:
        """What it wants to be sent."""
        field = self.handler.parsed_data_field
        if field is None:
            return None
        kinds = get_args(field.annotation) or (field.annotation,)
        [found] = [kind for kind in kinds if kind is not type(None)]
        return found if isinstance(found, type) else kinds[0]

    @property
    def who(self) -> Caller:
        """Somebody whom its access admits."""
        cast, roles = self.world.cast, access_of(self.handler).roles
        if Role.PARTNER in roles:
            return self.world.broker.client
        for role, somebody in (
            (Role.CLIENT, cast.alice),
            (Role.FREELANCER, cast.bob),
            (Role.ADMIN, cast.olga),
        ):
            if role in roles:
                return somebody
        return cast.anybody

    def path(self, **ids: str) -> str:
        """Its path, with real ids but for the given ones."""
        of_partners = self.template.startswith("/apps/")
        known = {**(self.world.partner_ids if of_partners else self.world.ids), **ids}
        return PATH_PARAMETER.sub(lambda found: known.get(found[1], UNKNOWN_ID), self.template)

    async def ask(
        self, query: str = "", ids: Mapping[str, str] | None = None, **sent: Any
    ) -> httpx.Response:
        return await self.who.request(self.method, self.path(**(ids or {})) + query, **sent)


def paths(cast: Cast) -> Iterator[HTTPRoute]:
    """Every path of the application."""
    for route in cast.app.routes:
        assert isinstance(route, HTTPRoute)
        yield route


def routes(world: World) -> Iterator[Route]:
    """Every route that answers JSON: neither pages nor files."""
    for path in paths(world.cast):
        if path.path.startswith(("/static/", "/docs", *PAGES)):
            continue
        for handler in path.route_handlers:
            for method in sorted(handler.http_methods - {"OPTIONS", "HEAD"}):
                yield Route(world, method, path.path, handler)


def sound(kind: Any) -> Any:
    """A value of a wire type, as far as its type goes."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {
            field.encode_name: sound(field.type)
            for field in msgspec.structs.fields(kind)
            if field.required
        }
    [first, *_] = [one for one in _types(kind) if not isinstance(one, msgspec.inspect.NoneType)]
    if isinstance(first, msgspec.inspect.StructType):
        return sound(first.cls)
    return {
        msgspec.inspect.StrType: "x",
        msgspec.inspect.IntType: 1,
        msgspec.inspect.BoolType: True,
        msgspec.inspect.ListType: [],
        msgspec.inspect.DecimalType: 1,
    }[type(first)]


def kinds_of(kind: Any) -> set[str]:
    """The JSON types that a wire type takes: {"string", "null"} for `Line | None`."""
    names = {
        msgspec.inspect.StrType: "string",
        msgspec.inspect.IntType: "number",
        msgspec.inspect.DecimalType: "decimal",
        msgspec.inspect.BoolType: "bool",
        msgspec.inspect.ListType: "list",
        msgspec.inspect.StructType: "object",
        msgspec.inspect.NoneType: "null",
    }
    found = {names[type(one)] for one in _types(kind)}
    return found - {"number"} if "decimal" in found else found


def _types(kind: Any) -> list[msgspec.inspect.Type]:
    """What a value may be: a union inside a union is one."""
    return list(_flat(msgspec.inspect.type_info(kind)))


def _flat(described: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    if isinstance(described, msgspec.inspect.Metadata):
        yield from _flat(described.type)
    elif isinstance(described, msgspec.inspect.UnionType):
        for one in described.types:
            yield from _flat(one)
    else:
        yield described
