"""/api/admin/businesses: what no setting can be."""

from typing import Any

import pytest

from life import accepted
from refusals import refused
from test_business_admin import DEFAULTS, PATH, create
from web import Cast

BAD: list[tuple[str, Any]] = [
    ("name", ""),
    ("name", "   "),
    ("name", "x" * 101),
    ("name", "\u200d"),
    ("name", "\u2800"),
    ("name", "a\u00adb"),
    ("name", 7),
    ("name", None),
    ("currency", "sar"),
    ("currency", "XXX"),
    ("currency", "XAU"),
    ("currency", ""),
    ("currency", 682),
    ("currency", None),
    ("callbackHosts", "shop.example"),
    ("callbackHosts", None),
    ("callbackHosts", ["x.example"] * 101),
    ("requireKyc", 1),
    ("requireKyc", "true"),
    ("releaseNeedsApproval", None),
    ("refundApproval", "Admin"),
    ("refundApproval", ""),
    ("escrowFeePayer", "thirdParty"),
    ("platformFeePayer", "Buyer"),
    ("amountMaximum", 0),
    ("amountMaximum", -1),
    ("amountMaximum", 0.001),
    ("amountMaximum", 10**15),
    ("amountMaximum", None),
    ("amountMaximum", "100"),
    *(("payoutMinimum", value) for value in (0, -1, 0.001, 10**15, None, "1", True)),
    *(("payoutSchedule", value) for value in ("", "Daily", "yearly", "weekly ", 7, None)),
    ("escrowFeeMinimum", -0.01),
    ("escrowFeeMinimum", None),
    ("escrowFeeMinimum", 0.001),
    ("escrowFeeMaximum", -1),
    ("platformFeeMaximum", "none"),
    ("platformFeeMinimum", 10**30),
    *(
        (rate, value)
        for rate in DEFAULTS
        if rate.endswith("Bps")
        for value in (-1, 10_001, 10**20, 1.5, "100", True, None)
    ),
]


async def test_it_refuses_settings_that_cannot_be_and_names_them(cast: Cast) -> None:
    known = (await create(cast))["data"]["businessId"]
    for field, value in BAD:
        for ask in (
            cast.olga.post(PATH, json={"name": "X", field: value}),
            cast.olga.patch(f"{PATH}/{known}", json={field: value}),
        ):
            said = await refused(cast, ask, 400)
            assert field in said, f"{field}: {value!r}: {said}"
    await refused(cast, cast.olga.post(PATH, json={}), 400, "name is required")


@pytest.mark.parametrize(
    "host",
    [
        "https://shop.example",
        "shop.example:443",
        "shop.example/",
        "shop.example.",
        ".shop.example",
        "shop..example",
        "*.example",
        "user@shop.example",
        "shop example",
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "[::1]",
        "-x.example",
        "x_y.example",
        "x" * 64 + ".example",
        ".".join(["x" * 60] * 5),
        "bücher.example",
        "",
        "javascript:alert(1)",
    ],
)
async def test_it_takes_names_of_hosts_only(cast: Cast, host: str) -> None:
    body = {"name": "X", "callbackHosts": ["good.example", host]}
    said = await refused(cast, cast.olga.post(PATH, json=body), 400)
    assert said.startswith("callbackHosts[1] ")


async def test_hosts_are_kept_in_lower_case_and_once(cast: Cast) -> None:
    hosts = ["Shop.Example", "shop.example", "localhost", "other.example"]
    shown = (await create(cast, callbackHosts=hosts))["data"]
    assert shown["callbackHosts"] == ["shop.example", "localhost", "other.example"]


async def test_no_minimum_is_above_its_maximum(cast: Cast) -> None:
    body: dict[str, Any] = {"name": "X", "escrowFeeMinimum": 5, "escrowFeeMaximum": 4.99}
    assert "escrowFee" in await refused(cast, cast.olga.post(PATH, json=body), 400)
    known = (await create(cast, escrowFeeMinimum=5))["data"]["businessId"]
    url = f"{PATH}/{known}"
    said = await refused(cast, cast.olga.patch(url, json={"escrowFeeMaximum": 4.99}), 400)
    assert said.startswith("escrowFeeMaximum")
    accepted(await cast.olga.patch(url, json={"escrowFeeMaximum": 5}))
    said = await refused(cast, cast.olga.patch(url, json={"escrowFeeMinimum": 5.01}), 400)
    assert said.startswith("escrowFeeMinimum")
    accepted(await cast.olga.patch(url, json={"escrowFeeMinimum": 6, "escrowFeeMaximum": None}))


async def test_no_fees_eat_every_amount(cast: Cast) -> None:
    body = {"name": "X", "escrowFeePayer": "seller", "platformFeePayer": "seller", "taxBps": 10_000}
    accepted(
        await cast.olga.post(PATH, json=body | {"escrowFeeBps": 2_500, "platformFeeBps": 2_500}),
        201,
    )
    more = body | {"escrowFeeBps": 2_500, "platformFeeBps": 2_501}
    assert "platformFeeBps" in await refused(cast, cast.olga.post(PATH, json=more), 400)
