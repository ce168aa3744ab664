"""`earnest business`: what the operator of the machine does with partners, as a process."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar

from digest import digest
from earnest.cli_business import Terms
from earnest.domain.partner_settings import Wanted
from earnest.store.db import Pool
from partners import TOKEN
from web import SECRET_KEY, caller

UNKNOWN = "0190a1b2-c3d4-7e5f-8a9b-000000000000"
EVENTS = "SELECT type, actor FROM event WHERE subject LIKE 'business:%' ORDER BY id"


class Done(msgspec.Struct):
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


class Operator:
    """`earnest business ...` on this test's database."""

    def __init__(self, database: Any, directory: Path) -> None:
        self._environment = os.environ | {
            "EARNEST_DATABASE_URL": database.app_dsn,
            "EARNEST_SECRET_KEY": SECRET_KEY.decode(),
            "EARNEST_DATA_DIR": str(directory),
        }

    def __call__(self, *words: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "earnest", "business", *words],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def create(self, *words: str) -> Any:
        return self("create", "--name", "Demo Broker", *words, "--json").json


@pytest.fixture
def operator(database: Any, tmp_path: Path) -> Operator:
    return Operator(database, tmp_path)


async def ask_token(app: Litestar, made: Any) -> httpx.Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": made["client_id"],
        "client_secret": made["client_secret"],
    }
    async with caller(app) as nobody:
        return await nobody.post(TOKEN, data=form)


async def told(pool: Pool) -> list[str]:
    async with pool.connection() as conn:
        rows = await conn.fetch(EVENTS)
    assert {row["actor"] for row in rows} <= {"setup"}
    return [row["type"] for row in rows]


async def test_what_it_makes_signs_in(operator: Operator, app: Litestar, pool: Pool) -> None:
    made = operator.create("--currency", "SAR")
    assert list(made) == ["business_id", "client_id", "client_secret"]
    assert (await ask_token(app, made)).status_code == 200
    assert await told(pool) == ["business.created"]


async def test_a_new_secret_replaces_the_old_one(
    operator: Operator, app: Litestar, pool: Pool
) -> None:
    first = operator.create()
    second = operator("rotate-secret", first["business_id"], "--json").json
    assert second["client_id"] == first["client_id"]
    assert (await ask_token(app, first)).status_code == 401
    assert (await ask_token(app, second)).status_code == 200
    assert await told(pool) == ["business.created", "business.secret-rotated"]


async def test_it_blocks_and_lets_in_again(operator: Operator, app: Litestar, pool: Pool) -> None:
    made = operator.create()
    for verb, status, answer in (("block", "Blocked", 401), ("unblock", "Active", 200)):
        done = operator(verb, made["business_id"], "--json").json
        assert done == {"business_id": made["business_id"], "status": status}
        assert (await ask_token(app, made)).status_code == answer
    assert await told(pool) == ["business.created", "business.blocked", "business.unblocked"]


async def test_it_takes_every_setting(operator: Operator, pool: Pool) -> None:
    options = {
        "escrow_fee_bps": 300,
        "escrow_fee_payer": "split",
        "escrow_fee_minimum": "1.500",
        "escrow_fee_maximum": "250",
        "platform_fee_bps": 0,
        "platform_fee_payer": "seller",
        "platform_fee_minimum": "0.005",
        "platform_fee_maximum": "10",
        "tax_bps": 0,
        "cancellation_not_started_bps": 100,
        "cancellation_started_bps": 1_500,
        "cancellation_ongoing_bps": 4_000,
        "cancellation_delivered_bps": 10_000,
        "retention_bps": 0,
        "refund_approval": "admin",
        "amount_maximum": "5000",
        "payout_minimum": "2.5",
        "payout_schedule": "weekly",
    }
    words = [
        word
        for name, value in options.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    words += ["--require-kyc", "--release-needs-approval"]
    words += ["--callback-host", "shop.example", "--callback-host", "b.example"]
    made = operator.create("--currency", "KWD", *words)
    [shown] = operator("list", "--json").json
    expected = options | {
        "escrow_fee_minimum": "1.5",
        "require_kyc": True,
        "release_needs_approval": True,
        "callback_hosts": ["shop.example", "b.example"],
        "currency": "KWD",
        "name": "Demo Broker",
        "status": "Active",
        "business_id": made["business_id"],
        "client_id": made["client_id"],
    }
    assert {name: shown[name] for name in expected} == expected
    assert set(shown) - set(expected) == {"created_at"}


async def test_it_changes_what_is_said_and_nothing_else(operator: Operator, pool: Pool) -> None:
    business = operator.create("--escrow-fee-maximum", "5", "--callback-host", "a.example")[
        "business_id"
    ]
    [before] = operator("list", "--json").json
    for words, change in (
        (("--tax-bps", "500"), {"tax_bps": 500}),
        (("--name", "Another  Broker "), {"name": "Another Broker"}),
        (("--escrow-fee-maximum", "none"), {"escrow_fee_maximum": None}),
        (("--require-kyc",), {"require_kyc": True}),
        (("--no-require-kyc",), {"require_kyc": False}),
        (("--any-callback-host",), {"callback_hosts": []}),
    ):
        after = operator("set", business, *words, "--json").json
        assert after == before | change
        before = after
    changes = len(await told(pool))
    assert operator("set", business, "--json").json == before
    assert len(await told(pool)) == changes


async def test_it_changes_the_payouts_of_the_marketplace(operator: Operator, pool: Pool) -> None:
    before = {
        "name": "Marketplace",
        "currency": "INR",
        "payout_minimum": "1",
        "payout_schedule": "manual",
    }
    assert operator("marketplace", "--json").json == before
    assert await told(pool) == []
    words = ("--payout-minimum", "250.5", "--payout-schedule", "weekly")
    after = before | {"payout_minimum": "250.5", "payout_schedule": "weekly"}
    assert operator("marketplace", *words, "--json").json == after
    assert operator("marketplace", *words, "--json").json == after
    assert await told(pool) == ["business.changed"]
    assert operator("marketplace", "--payout-schedule", "manual", "--json").json == after | {
        "payout_schedule": "manual"
    }
    assert operator("list", "--json").json == []


async def test_people_can_read_its_answers(operator: Operator) -> None:
    done = operator("create", "--name", "Demo Broker")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("Demo Broker is a partner now.\nbusiness_id: ")
    assert "client_secret: es_" in done.out
    [headline, line] = operator("list").out.splitlines()
    assert headline.split() == ["business", "client", "status", "name"]
    assert line.endswith("SAR  Active   Demo Broker")
    assert "es_" not in line
    shown = operator("set", line.split()[0], "--require-kyc").out
    assert "require_kyc: yes\n" in shown
    assert "callback_hosts: any\n" in shown
    assert "escrow_fee_maximum: none\n" in shown


async def test_a_refusal_names_the_option_and_changes_nothing(
    operator: Operator, pool: Pool
) -> None:
    business = operator.create()["business_id"]
    before = await digest(pool)
    for words, code, said in (
        (("create", "--name", ""), 1, "--name must have 1 to 100 characters"),
        (("create", "--name", "x\x1b[31m"), 1, "--name must not contain control characters"),
        (("create", "--name", "X", "--currency", "sar"), 1, "--currency must be an ISO 4217"),
        (("set", business, "--escrow-fee-bps", "10001"), 1, "--escrow-fee-bps must be 0 to 10000"),
        (("set", business, "--escrow-fee-minimum", "NaN"), 1, "--escrow-fee-minimum must be"),
        (("set", business, "--escrow-fee-minimum", "none"), 1, "--escrow-fee-minimum must be"),
        (("set", business, "--escrow-fee-minimum", "1e3"), 1, "--escrow-fee-minimum must be"),
        (("set", business, "--escrow-fee-minimum", "0.001"), 1, "at most 2 decimals in SAR"),
        (("set", business, "--amount-maximum", "0"), 1, "--amount-maximum must be greater than 0"),
        (("set", business, "--payout-minimum", "0"), 1, "--payout-minimum must be greater than 0"),
        (("set", business, "--payout-schedule", "x"), 1, "--payout-schedule must be one of manual"),
        (("marketplace", "--payout-minimum", "0.001"), 1, "at most 2 decimals in INR"),
        (("marketplace", "--payout-schedule", ""), 1, "--payout-schedule must be one of manual"),
        (("set", business, "--escrow-fee-payer", "me"), 1, "--escrow-fee-payer must be one of"),
        (("set", business, "--callback-host", "http://x"), 1, "--callback-host must be a host"),
        (("set", "2", "--tax-bps", "1"), 1, "business id must be a UUID"),
        (("set", UNKNOWN, "--tax-bps", "1"), 1, "Business not found"),
        (("rotate-secret", UNKNOWN), 1, "Business not found"),
        (("block", UNKNOWN), 1, "Business not found"),
        (("unblock", UNKNOWN), 1, "Business not found"),
        (("set", business, "--tax-bps", "x"), 2, "--tax-bps"),
        (("set", business, "--currency", "USD"), 2, "--currency"),
        (("create",), 2, "--name"),
    ):
        done = operator(*words)
        assert done.code == code, f"{words}: {done}"
        assert said in done.err, f"{words}: {done}"
        assert "Traceback" not in done.err
        assert done.out == ""
    assert await digest(pool) == before


def test_its_options_are_the_settings_there_are() -> None:
    """Nothing can be set by the API that cannot be set here, nor the other way round."""
    options = {field.name for field in fields(Terms)} | {"name", "currency"}
    assert options == {field.name for field in msgspec.structs.fields(Wanted)}
