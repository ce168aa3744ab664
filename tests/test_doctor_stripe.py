"""`earnest doctor` and the account at Stripe: every finding, produced by what it is about."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import stripe as sdk

from conftest import TestDatabase
from earnest import doctor_stripe
from earnest.diagnosis import Finding
from earnest.providers import stripe_line
from earnest.providers.events import CONNECTED_EVENTS, OWN_EVENTS
from earnest.providers.stripe_line import API_VERSION
from earnest.settings import Settings, read_settings
from stripe_client import listening, speaking_to
from stripe_double import Fault, StripeDouble
from stripe_wire import Object
from test_doctor import FINE
from test_serve import earnest

# The SDK, with which the tests make endpoints, hands its bodies to httpx under an older name.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

DOCS = Path(__file__).parent.parent / "docs" / "stripe.md"
WEBHOOK = "https://pay.example.com/webhook"
SECRETS = ("whsec_geheim", "whsec_geheimer")
ACCOUNT, BALANCE, ENDPOINTS = "/v1/account", "/v1/balance", "/v1/webhook_endpoints"


def settings_for(double: StripeDouble, **other: str) -> Settings:
    """Of production, with the double's key. No setting would let its address in there."""
    environ = FINE | {
        "EARNEST_PROVIDER": "stripe",
        "EARNEST_STRIPE_SECRET_KEY": double.api_key,
        "EARNEST_STRIPE_WEBHOOK_SECRET": ",".join(SECRETS),
    }
    environ |= {f"EARNEST_{name.upper()}": value for name, value in other.items()}
    return msgspec.structs.replace(read_settings(environ), stripe_api_base=double.url)


async def findings(double: StripeDouble, **other: str) -> list[Finding]:
    """What doctor finds at Stripe, having changed nothing and repeated no secret."""
    settings = settings_for(double, **other)
    there = msgspec.json.encode((double.books.objects, double.books.platform))
    asked = len(double.requests)
    found = await asyncio.to_thread(doctor_stripe.examine_stripe, settings)
    assert {each.method for each in double.requests[asked:]} <= {"GET"}
    assert msgspec.json.encode((double.books.objects, double.books.platform)) == there
    for one in found:
        assert one.fix, one
        assert one.what.endswith("."), one
        assert not re.search(f"geheim|{double.api_key}", msgspec.json.encode(one).decode()), one
    return found


async def found(double: StripeDouble, **other: str) -> dict[str, str]:
    """The severities by name; no name twice."""
    listed = await findings(double, **other)
    named = {one.name: str(one.severity) for one in listed}
    assert len(named) == len(listed), listed
    return named


@pytest.fixture
async def double() -> AsyncIterator[StripeDouble]:
    """An account at which nothing has been set up but what is there by itself."""
    async with StripeDouble() as server:
        yield server


@pytest.fixture
async def client(double: StripeDouble) -> AsyncIterator[sdk.StripeClient]:
    async with speaking_to(double) as speaker:
        yield speaker


@pytest.fixture
async def endpoints(client: sdk.StripeClient, double: StripeDouble) -> list[Object]:
    """Those that docs/stripe.md asks for: of the account, of connected accounts."""
    await listening(client, WEBHOOK, OWN_EVENTS, api_version=API_VERSION)
    await listening(client, WEBHOOK, CONNECTED_EVENTS, api_version=API_VERSION, connect=True)
    return list(double.all("webhook_endpoint").values())


def test_it_wants_the_events_that_the_documentation_lists() -> None:
    (step,) = re.findall(r"\n3\. \*\*Webhooks\.\*\*.*?\n4\. ", DOCS.read_text(), re.DOTALL)
    own, connected = step.split("for events of *connected accounts*")
    words = re.compile(r"`([a-z_]+(?:\.[a-z_]+)+)`")
    assert sorted(words.findall(own)) == sorted(OWN_EVENTS)
    assert sorted(words.findall(connected)) == sorted(CONNECTED_EVENTS)
    assert f"API version `{API_VERSION}`" in own


@pytest.mark.usefixtures("endpoints")
async def test_it_has_nothing_against_an_account_set_up_by_the_book(double: StripeDouble) -> None:
    assert await found(double) == {}
    (asked,) = {each.headers["stripe-version"] for each in double.requests[2:]}
    assert asked == API_VERSION


# -- the key, and whether there is an answer --------------------------------------------------


async def test_it_finds_a_key_that_stripe_does_not_know(double: StripeDouble) -> None:
    double.api_key, other = "sk_test_rolled", double.api_key
    assert await found(double, stripe_secret_key=other) == {"stripe_key": "error"}


@pytest.mark.usefixtures("endpoints")
async def test_it_says_what_a_restricted_key_may_not_read(double: StripeDouble) -> None:
    double.books.platform["settings"]["payouts"]["schedule"]["interval"] = "daily"
    rights = {ACCOUNT: "Accounts", BALANCE: "Balance", ENDPOINTS: "Webhook Endpoints"}
    for path, right in rights.items():
        double.withheld = {f"GET {path}"}
        named = {one.name: one for one in await findings(double)}
        assert named["stripe_permission"].severity == "note"
        assert [each for each in rights.values() if each in named["stripe_permission"].fix] == [
            right
        ]
        assert ("stripe_payouts_schedule" in named) == (path != ACCOUNT)
    double.withheld = {f"GET {path}" for path in rights}
    assert await found(double) == {"stripe_permission": "note"}


@pytest.mark.usefixtures("endpoints")
async def test_it_is_not_stopped_by_a_stripe_that_is_away(double: StripeDouble) -> None:
    async with double.away():
        (one,) = await findings(double)
    assert (one.severity, one.name) == ("warning", "stripe_unanswered")
    assert "Stripe cannot be reached." in one.what


@pytest.mark.parametrize("path", [ACCOUNT, BALANCE, ENDPOINTS])
@pytest.mark.parametrize(
    "fault",
    [
        Fault.TIMEOUT_BEFORE, Fault.RESET_BEFORE, Fault.HALF, Fault.GARBAGE, Fault.ERROR_500,
        Fault.TOO_MANY_429, Fault.SLOW,
    ],
)  # fmt: skip
async def test_it_is_not_held_up_by_a_stripe_that_fails(
    double: StripeDouble,
    endpoints: list[Object],
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    path: str,
) -> None:
    """And still tells of everything else."""
    monkeypatch.setattr(stripe_line, "CALL_SECONDS", 0.5)
    double.books.platform["charges_enabled"] = False
    endpoints[0]["status"] = "disabled"
    double.fault("GET", path, fault)
    wanted = {"stripe_unanswered": "warning"}
    if path != ACCOUNT:
        wanted |= {"stripe_charges": "warning"}
    if path != ENDPOINTS:
        wanted |= {"stripe_webhook": "error"}
    assert await found(double) == wanted


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("account", {"charges_enabled": "yes"}),
        ("account", {"payouts_enabled": None}),
        ("account", {"capabilities": {"transfers": "\x1b[2J"}}),
        ("account", {"settings": []}),
        ("account", {"settings": {"payouts": {"schedule": {}}}}),
        ("account", {"settings": {"payouts": {"schedule": {"interval": "\n"}}}}),
        ("endpoint", {"id": "we_1 we_2"}),
        ("endpoint", {"enabled_events": "*"}),
        ("endpoint", {"status": None}),
        ("endpoint", {"url": 5}),
        ("endpoint", {"application": True}),
        ("endpoint", {"api_version": "x" * 81}),
    ],
    ids=str,
)
async def test_it_believes_nothing_that_is_not_as_documented(
    double: StripeDouble, endpoints: list[Object], kind: str, change: Object
) -> None:
    (double.books.platform if kind == "account" else endpoints[0]).update(change)
    assert await found(double) == {"stripe_unanswered": "warning"}


@pytest.mark.usefixtures("endpoints")
async def test_it_finds_a_key_of_the_other_mode(double: StripeDouble) -> None:
    double.api_key = "sk_live_double"
    (one,) = await findings(double)
    assert (one.severity, one.name) == ("error", "stripe_mode")
    assert "a live key by its name" in one.what
    assert "in test mode" in one.what


# -- the account ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "name", "severity", "live_severity"),
    [
        ({"charges_enabled": False}, "stripe_charges", "warning", "error"),
        ({"payouts_enabled": False}, "stripe_payouts", "warning", "error"),
        ({"capabilities": {"transfers": "pending"}}, "stripe_transfers", "warning", "warning"),
        ({"capabilities": {"transfers": "inactive"}}, "stripe_transfers", "warning", "warning"),
        ({"capabilities": {}}, "stripe_transfers", "warning", "warning"),
        ({"settings": None}, "stripe_payouts_schedule", "warning", "warning"),
        ({"settings": {"payouts": None}}, "stripe_payouts_schedule", "warning", "warning"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("endpoints")
async def test_it_finds_an_account_that_cannot_do_all(
    double: StripeDouble, change: Object, name: str, severity: str, live_severity: str
) -> None:
    """No real money is at risk with a test key, and test payments need no activated account."""
    double.books.platform |= change
    assert await found(double) == {name: severity}
    double.api_key = "sk_live_double"
    assert await found(double) == {name: live_severity, "stripe_mode": "error"}


@pytest.mark.parametrize("interval", ["daily", "weekly", "monthly"])
@pytest.mark.usefixtures("endpoints")
async def test_it_finds_payouts_that_nobody_asked_for(double: StripeDouble, interval: str) -> None:
    double.books.platform["settings"]["payouts"]["schedule"]["interval"] = interval
    (one,) = await findings(double)
    assert (one.severity, one.name) == ("error", "stripe_payouts_schedule")
    assert f"are {interval}, not manual" in one.what


# -- webhook endpoints ------------------------------------------------------------------------


SANDBOX = {"env": "sandbox"}


async def test_it_misses_the_endpoints_that_there_are_not(double: StripeDouble) -> None:
    wanted = {"stripe_webhook": "error", "stripe_webhook_connected": "warning"}
    assert await found(double) == wanted
    local = {"public_url": "http://127.0.0.1:8000", "client_url": "http://127.0.0.1:5173"}
    listed = await findings(double, **SANDBOX, **local)
    assert {one.name: one.severity for one in listed} == dict.fromkeys(wanted, "warning")
    assert "stripe listen --forward-to http://127.0.0.1:8000/webhook" in listed[0].fix


@pytest.mark.parametrize(
    "url",
    [
        "https://pay.example.com/webhook/",
        "https://pay.example.com/hook",
        "https://pay.example.com:8443/webhook",
        "https://shop.example.com/webhook",
        "http://pay.example.com/webhook",
        "https://pay.example.com/webhook?to=me",
        "https://pay.example.com:port/webhook",
    ],
)
async def test_it_takes_no_other_endpoint_for_ours(
    double: StripeDouble, endpoints: list[Object], url: str
) -> None:
    endpoints[0]["url"] = url
    assert await found(double) == {"stripe_webhook": "error"}


@pytest.mark.parametrize(
    "public_url",
    ["https://pay.example.com/", "https://PAY.example.com", "https://pay.example.com:443"],
)
@pytest.mark.usefixtures("endpoints")
async def test_it_knows_other_spellings_of_one_url(double: StripeDouble, public_url: str) -> None:
    assert await found(double, public_url=public_url) == {}


async def test_it_names_endpoints_that_are_disabled(
    double: StripeDouble, endpoints: list[Object]
) -> None:
    own, connected = endpoints
    own["status"] = connected["status"] = "disabled"
    listed = await findings(double)
    assert {one.name: one.severity for one in listed} == {
        "stripe_webhook": "error",
        "stripe_webhook_connected": "warning",
    }
    assert all(own["id"] in one.what for one in listed)
    own["status"] = "enabled"
    assert await found(double) == {"stripe_webhook_connected": "warning"}


async def test_it_wants_one_endpoint_for_each_kind_of_account(
    client: sdk.StripeClient, double: StripeDouble
) -> None:
    """However many of the other kind there are, and whatever they are subscribed to."""
    every = OWN_EVENTS | CONNECTED_EVENTS
    for connect in (False, True):
        double.all("webhook_endpoint").clear()
        for _ in range(2):
            await listening(client, WEBHOOK, every, api_version=API_VERSION, connect=connect)
        name = "stripe_webhook" if connect else "stripe_webhook_connected"
        assert await found(double) == {name: "error" if connect else "warning"}


@pytest.mark.parametrize(
    ("position", "lacking"),
    [
        *((0, each) for each in sorted(OWN_EVENTS)),
        *((1, each) for each in sorted(CONNECTED_EVENTS)),
    ],
)
async def test_it_names_each_event_that_nobody_would_hear_of(
    client: sdk.StripeClient,
    double: StripeDouble,
    endpoints: list[Object],
    position: int,
    lacking: str,
) -> None:
    endpoint = endpoints[position]
    endpoint["enabled_events"].remove(lacking)
    (one,) = await findings(double)
    assert (one.severity, one.name) == ("warning", "stripe_webhook_events")
    assert f"{endpoint['id']} does not hear of {lacking}." in one.what
    endpoint["enabled_events"] = ["*"]
    assert await found(double) == {}
    # Another endpoint of the same kind may hear of it instead.
    endpoint["enabled_events"] = sorted((OWN_EVENTS, CONNECTED_EVENTS)[position] - {lacking})
    await listening(client, WEBHOOK, [lacking], api_version=API_VERSION, connect=position == 1)
    third = {"stripe_webhook_secret": ",".join((*SECRETS, "whsec_geheimst"))}
    assert await found(double, **third) == {}


@pytest.mark.parametrize("version", [None, "2024-06-20"])
async def test_it_finds_events_of_another_version(
    double: StripeDouble, endpoints: list[Object], version: str | None
) -> None:
    endpoints[1]["api_version"] = version
    (one,) = await findings(double)
    assert (one.severity, one.name) == ("warning", "stripe_webhook_version")
    assert f"{endpoints[1]['id']} writes events as in API version {version or 'that'}" in one.what


@pytest.mark.usefixtures("endpoints")
async def test_it_counts_the_secrets(double: StripeDouble) -> None:
    one = {"stripe_webhook_secret": SECRETS[0]}
    assert await found(double, **one) == {"stripe_webhook_secret_count": "error"}
    assert await found(double, **one, **SANDBOX) == {"stripe_webhook_secret_count": "warning"}


@pytest.mark.usefixtures("endpoints")
async def test_it_reads_every_page_of_endpoints(
    client: sdk.StripeClient, double: StripeDouble
) -> None:
    """Ours are the oldest, and so they come last."""
    for n in range(101):
        await listening(client, f"https://other.example/{n}")
    assert await found(double) == {}
    assert [each.params for each in double.requests if each.params.get("limit")] == [
        {"limit": "100"},
        {"limit": "100", "starting_after": list(double.all("webhook_endpoint"))[3]},
    ]


# -- the command ------------------------------------------------------------------------------


@pytest.mark.usefixtures("endpoints")
async def test_it_asks_stripe_when_it_is_the_provider(
    double: StripeDouble, database: TestDatabase, tmp_path: Path
) -> None:
    environ = {
        "EARNEST_DATABASE_URL": database.app_dsn,
        "EARNEST_PUBLIC_URL": "https://pay.example.com",
        "EARNEST_STRIPE_SECRET_KEY": double.api_key,
        "EARNEST_STRIPE_WEBHOOK_SECRET": ",".join(SECRETS),
        "EARNEST_STRIPE_API_BASE": double.url,
    }

    async def told(provider: str) -> tuple[int, set[str]]:
        answer = await asyncio.to_thread(
            earnest, "doctor", "--json", "--data", tmp_path, EARNEST_PROVIDER=provider, **environ
        )
        listed: list[dict[str, Any]] = json.loads(answer.stdout)["findings"]
        assert double.api_key not in answer.stdout + answer.stderr
        return answer.returncode, {one["name"] for one in listed if one["name"].startswith("str")}

    before = len(double.requests)
    assert (await told("stripe")) == (0, set())
    asked = sorted(each.path for each in double.requests[before:])
    assert asked == [ACCOUNT, BALANCE, ENDPOINTS]
    double.books.platform["settings"]["payouts"]["schedule"]["interval"] = "daily"
    assert (await told("stripe")) == (1, {"stripe_payouts_schedule"})
    before = len(double.requests)
    assert (await told("sandbox")) == (0, set())
    assert len(double.requests) == before


def test_every_finding_is_produced_here() -> None:
    named = re.compile(r'(?:error|warning|note|severe)\(\s*"([a-z_]+)",')
    known = set(named.findall(Path(doctor_stripe.__file__).read_text()))
    here = Path(__file__).read_text()
    assert len(known) == 13
    assert {name for name in known if f'"{name}"' not in here} == set()
