"""Schemathesis against `earnest serve`: whatever is sent, the answer is one that the API describes.

Requests are generated from the description, by the book and against it, and sent over HTTP by
people of every role, half of them about things that exist. Addresses differ, so that no limit
stands in the way. In CI the same requests every time; `make nightly` sends 50,000 new ones.
"""

import itertools
import json
import os
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import hypothesis
import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from conftest import TestDatabase
from deal import HUDA, OMAR, Deal
from earnest.domain.party import Role
from earnest.domain.projection import MARKETPLACE_STATUSES
from earnest.providers.signature import sign
from life import Life
from partners import make_broker
from test_serve import Serve, data_dir
from truth import document, hold
from web import PASSWORD, SECRET_KEY, Caller, Cast

__all__ = ["data_dir"]

IS_NIGHTLY = os.environ.get("EARNEST_TEST_PROFILE") == "nightly"
REQUESTS_MIN = 50_000 if IS_NIGHTLY else 2_500
CASES_PER_ROUND = 100 if IS_NIGHTLY else 20
# Whoever is signed out everywhere cannot ask any more.
BY_THEMSELVES = {"logoutAll": "mallet"}
PEOPLE = {
    "alice": Role.CLIENT,
    "bob": Role.FREELANCER,
    "olga": Role.ADMIN,
    "broker": Role.PARTNER,
}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OTHER_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE")
"""What no path may answer with anything but 405, unless the description has it."""


class Barrage(msgspec.Struct):
    """The server at `url`, who asks it, what there is to ask about, and what came of it."""

    url: str
    described: Any
    tokens: dict[str, str]
    roles: dict[str, frozenset[Role]]
    known: dict[str, list[Any]]
    webhook_secret: str
    answered: Counter[tuple[str, int]] = msgspec.field(default_factory=Counter)
    addresses: Iterator[int] = msgspec.field(default_factory=itertools.count)

    @property
    def count(self) -> int:
        return self.answered.total()

    def run(self) -> str:
        """Rounds over all operations, until enough was asked; what was wrong, or ""."""
        try:
            self._rounds()
        except BaseException as failure:  # noqa: BLE001  groups of them, which no thread may end with
            return "".join(traceback.format_exception_only(failure))[:10_000]
        return ""

    def _rounds(self) -> None:
        schema = schemathesis.openapi.from_dict(
            {name: of for name, of in self.described.items() if not name.startswith("x-")}
        )
        schema.config.update(base_url=self.url)
        operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
        assert len(operations) == len(self.roles)
        with requests.Session() as session:
            while self.count < REQUESTS_MIN:
                for operation in operations:
                    modes = [GenerationMode.POSITIVE]
                    if operation.body or operation.query or operation.path_parameters:
                        modes.append(GenerationMode.NEGATIVE)
                    for mode in modes:
                        self._ask(session, operation, mode)

    def _ask(self, session: requests.Session, operation: Any, mode: GenerationMode) -> None:
        of = operation.definition.raw["operationId"]
        who = self._askers(of)

        @hypothesis.settings(
            max_examples=CASES_PER_ROUND,
            derandomize=not IS_NIGHTLY,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(
            case=operation.as_strategy(generation_mode=mode),
            name=st.sampled_from(who),
            data=st.data(),
        )
        def ask(case: Any, name: str, data: Any) -> None:
            self._send(session, operation, case, name, data)

        ask()

    def _send(
        self, session: requests.Session, operation: Any, case: Any, name: str, data: Any
    ) -> None:
        for place in (case.path_parameters, case.query, case.body):
            self._make_real(place, data)
        headers = self._headers(name)
        if operation.path == "/webhook" and isinstance(case.body, dict):
            # A generator cannot sign: without this it would never come past the signature.
            raw = json.dumps(case.body).encode()
            case.headers = {"Stripe-Signature": sign(raw, self.webhook_secret, int(time.time()))}
            answer = case.call(session=session, headers=headers, data=raw, json=None)
        else:
            answer = case.call(session=session, headers=headers)
        self.answered[operation.definition.raw["operationId"], answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)
        received = {each.lower(): ", ".join(of).encode() for each, of in answer.headers.items()}
        route = self.described["x-route-of"][f"{operation.method.upper()} {operation.path}"]
        hold(
            self.described, operation.method.upper(), route, answer.status_code, received,
            answer.content,
        )  # fmt: skip

    def _make_real(self, place: Any, data: Any) -> None:
        """Half of what has a known name gets a value that exists."""
        if not isinstance(place, dict):
            return
        for name in place:
            if name in self.known and data.draw(st.booleans()):
                place[name] = data.draw(st.sampled_from(self.known[name]))

    def _askers(self, of: str) -> list[str]:
        """Mostly those whom its access admits, so that it comes to more than a 401 or 403."""
        if of in BY_THEMSELVES:
            return [BY_THEMSELVES[of]]
        admitted = [name for name, role in PEOPLE.items() if role in self.roles[of]]
        return [*(admitted * 4), *PEOPLE, ""]

    def _headers(self, name: str) -> dict[str, str]:
        number = next(self.addresses)
        address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        headers = {"X-Forwarded-For": address}
        if name:
            headers["Authorization"] = f"Bearer {self.tokens[name]}"
        return headers


async def a_town(cast: Cast) -> dict[str, list[Any]]:
    """Contracts at every point, and the ids of everything around them, by parameter."""
    broker = await make_broker(cast.app)
    deals = [await Deal.at(broker, point) for point in ("pending", "paid", "delivered", "released")]
    points = (
        "created",
        "paid",
        "started",
        "ongoing",
        "completed",
        "requested",
        "released",
        "canceled",
    )
    lives = [await Life.at(cast, point) for point in points]
    job = await cast.post_job()
    applied = await cast.bob.post(f"/api/freelancer/jobs/apply-job/{job}")
    wallet = await cast.bob.get(f"/api/freelancer/wallet/earnings/{cast.bob.id}")
    return {
        "jobId": [*(life.job for life in lives), job],
        "contractId": [*(life.contract for life in lives), *(deal.number for deal in deals)],
        "milestoneId": [deal.milestone(index) for deal in deals for index in (0, 1)],
        "client_id": [broker.client_id],
        "client_secret": [broker.secret],
        "grant_type": ["client_credentials"],
        "scope": ["escrow"],
        # Others may be blocked, or have another secret by now.
        "businessId": [str((await make_broker(cast.app, "Rival Broker")).business_id)],
        "phoneNumber": [HUDA["phoneNumber"], OMAR["phoneNumber"]],
        "clientId": [cast.alice.id],
        "freelancerId": [cast.bob.id],
        # Others may be blocked.
        "userId": [cast.mallory.id, cast.mallet.id],
        "id": [wallet.json()["data"]["_id"]],
        "labelId": [cast.category, cast.skill],
        "applicationId": [applied.json()["application"]["_id"]],
        "category": [cast.category],
        "sessionId": [life.session for life in lives if life.session],
        "email": [cast.alice.email, cast.bob.email],
        "password": [PASSWORD],
        "amount": [12000],
        "rate": [0.01, 12000, 999_999.99],
        "rating": [5],
        "status": list(MARKETPLACE_STATUSES),
        "experienceLevel": ["Beginner"],
        "skills": [[cast.skill]],
        "startDate": ["", "2099-12-31"],
        "endDate": ["", "2099-12-31"],
        "jobCategory": [cast.category, ""],
        "type": ["checkout.session.completed", "checkout.session.expired", "invoice.paid"],
        "outcome": ["paid", "failed", "expired", "unpaid"],
        "page": [1, 2],
        "limit": [1, 100],
    }


def token_of(caller: Caller) -> str:
    return caller.headers["Authorization"].removeprefix("Bearer ")


@pytest.mark.timeout(7200 if IS_NIGHTLY else 600)
async def test_it_answers_as_described(
    cast: Cast,
    data_dir: Path,
    database: TestDatabase,
) -> None:
    known = await a_town(cast)
    serve = Serve(
        data_dir,
        "--workers",
        "1",
        EARNEST_DATABASE_URL=database.app_dsn,
        EARNEST_SECRET_KEY=SECRET_KEY.decode(),
        EARNEST_TRUSTED_PROXIES="127.0.0.0/8",
    )
    try:
        described = document(cast.app)
        operations = cast.app.state.described.operations
        routes = {f"{one.method} {one.path}": one.route for one in operations}
        people = (cast.alice, cast.bob, cast.mallet, cast.olga)
        url = serve.ready()
        # A partner's token is of the server that it was asked of.
        form = {name: known[name][0] for name in ("grant_type", "client_id", "client_secret")}
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            given = (await http.post("/connect/token", data=form)).json()
        tokens = {one.name.lower(): token_of(one) for one in people}
        barrage = Barrage(
            url=url,
            described=described | {"x-route-of": routes},
            tokens=tokens | {"broker": given["access_token"]},
            roles={one.id: one.access.roles for one in operations},
            known=known,
            webhook_secret=cast.app.state.webhook_secrets[0],
        )
        failure = await anyio.to_thread.run_sync(barrage.run)
        assert failure == ""
        await anyio.to_thread.run_sync(refuse_other_methods, barrage)
    finally:
        assert serve.stop() == 0
    assert barrage.count >= REQUESTS_MIN

    assert all(status < 500 for _, status in barrage.answered)
    done = {of for of, status in barrage.answered if status < 300}
    assert len(done) > len(operations) * 0.6, "too little of what was asked came to anything"


def refuse_other_methods(barrage: Barrage) -> None:
    paths = barrage.described["paths"]
    for path, methods in paths.items():
        # GET .../checkout asks for a contract of that name.
        elsewhere = paths.get(f"{path.rpartition('/')[0]}/{{contractId}}", {})
        for method in OTHER_METHODS:
            if method.lower() not in methods and method.lower() not in elsewhere:
                url = barrage.url + path.replace("{", "").replace("}", "")
                answer = requests.request(method, url, timeout=30, headers=barrage._headers(""))
                assert answer.status_code == 405, f"{method} {path}: {answer.text}"
                allowed = set(answer.headers["Allow"].split(", ")) - {"OPTIONS", "HEAD"}
                assert allowed == {each.upper() for each in methods}
