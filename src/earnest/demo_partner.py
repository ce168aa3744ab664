"""The partner's chapter of the demo: Demo Broker, which escrows its customers' money by API.

Huda buys, Omar sells; Olga made the broker. One contract is paid, and half of it released and on
its way to Omar's bank; one waits for its buyer. Invariant: what is there already is taken as it
is, however far an earlier start had come, so that each step is made once; only secrets are made
anew, for they are told once.
"""

import time
from itertools import count
from typing import Any

import httpx

from earnest.demo_cast import Person, answered, money
from earnest.demo_receiver import Receiver

BROKER = "Demo Broker"
BUSINESSES = "/api/admin/businesses"
CONTRACTS = "/apps/api/contracts"
WEBHOOKS = "/apps/api/webhooks"
PAYOUTS = "/apps/api/payouts"
HUDA = {"phoneNumber": "966500000001", "firstName": "Huda", "lastName": "Salem"}
OMAR = {"phoneNumber": "966500000002", "firstName": "Omar", "lastName": ""}
DUE = "2036-06-01T00:00:00.000Z"
HALF_RELEASED, TO_BE_PAID = "demo-kitchen", "demo-website"
KITCHEN = (("Plans", 600), ("Kitchen", 400))
WEBSITE = (("Design", 700), ("Site", 500))
DELIVERED_SECONDS_MAX = 10
PAGE_ENTRIES = 100


def partner_story(olga: Person, anybody: httpx.Client, url: str, receiver: Receiver) -> list[str]:
    """Make what is not there yet; the lines that tell of it. Raises StoryFailed."""
    client_id, secret, is_new = _credentials(olga)
    broker = _sign_in(anybody, client_id, secret)
    with broker.client:
        _subscribe(broker, receiver)
        told = [
            *_told_of(broker, _half_released(broker, anybody)),
            *_told_of(broker, _contract(broker, TO_BE_PAID, "A website", WEBSITE)),
            *_paid_daily(olga, broker),
        ]
        _await_deliveries(broker)
    return [
        "",
        f"A partner, {BROKER}, escrows its customers' money by API. Its credentials, for the",
        "example of clients/python and for the lines below:",
        f"  export ESCROW_URL={url}",
        f"  export ESCROW_CLIENT_ID={client_id}",
        f"  export ESCROW_CLIENT_SECRET={secret}",
        *([] if is_new else ["  (A secret is told once: this is a new one, the last is void.)"]),
        "",
        "What became of its contracts (SAR):",
        *told,
        "",
        "Webhooks that its receiver has verified, and verifies from now on:",
        *receiver.heard(),
        *_to_try(url, client_id, secret),
    ]


# -- the broker -------------------------------------------------------------------------------


def _credentials(olga: Person) -> tuple[str, str, bool]:
    """Client id, secret, and whether Demo Broker is new."""
    found = [one for one in olga.send("GET", BUSINESSES)["data"] if one["name"] == BROKER]
    if not found:
        wanted = {"name": BROKER, "currency": "SAR", "payoutSchedule": "manual"}
        made = olga.send("POST", BUSINESSES, wanted, key="story-broker")
        return made["clientId"], made["clientSecret"], True
    broker = f"{BUSINESSES}/{found[-1]['businessId']}"
    if found[-1]["status"] != "Active":
        olga.send("PATCH", f"{broker}/unblock")
    rotated = olga.send("POST", f"{broker}/rotate-secret")
    return rotated["clientId"], rotated["clientSecret"], False


def _sign_in(anybody: httpx.Client, client_id: str, secret: str) -> Person:
    form = {
        "grant_type": "client_credentials",
        "client_id": client_id,
        "client_secret": secret,
    }
    token = answered(anybody.post("/connect/token", data=form))["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    client = httpx.Client(base_url=anybody.base_url, headers=headers, timeout=30, trust_env=False)
    return Person(BROKER, "", client_id, client)


def _subscribe(broker: Person, receiver: Receiver) -> None:
    """The receiver knows the secret before the server knows the receiver, except the first time,
    when nothing has happened yet."""
    wanted = {"webhookUrl": receiver.url}
    if broker.client.get(WEBHOOKS).status_code == 404:
        receiver.secret = broker.send("POST", WEBHOOKS, wanted)["data"]["secretKey"]
        return
    made = broker.send("POST", f"{WEBHOOKS}/regenerate-secret")["data"]
    receiver.secret = made["secretKey"]
    broker.send("POST", WEBHOOKS, wanted)


def _await_deliveries(broker: Person) -> None:
    """Until nothing waits to be delivered; not for ever."""
    until = time.monotonic() + DELIVERED_SECONDS_MAX
    pending = f"{WEBHOOKS}/deliveries?status=pending"
    while broker.send("GET", pending)["data"]["totalCount"] and time.monotonic() < until:
        time.sleep(0.1)


# -- its contracts ----------------------------------------------------------------------------


def _contract(
    broker: Person, reference: str, title: str, parts: tuple[tuple[str, int], ...]
) -> Any:
    """The contract of this reference, made if there is none, as GET shows it."""
    number = _find(broker, reference)
    if number is None:
        wanted = {
            "title": title,
            "contractServiceType": "Service",
            "reference": reference,
            "BuyerParty": HUDA,
            "SellerParty": OMAR,
            "amount": sum(amount for _, amount in parts),
            "Milestones": [
                {"Name": name, "Amount": amount, "DueDate": DUE} for name, amount in parts
            ],
        }
        made = broker.send("POST", CONTRACTS, wanted, key=f"story-{reference}")
        number = made["data"]["contractId"]
    return broker.send("GET", f"{CONTRACTS}/{number}")["data"]


def _find(broker: Person, reference: str) -> str | None:
    for page in count(1):
        path = f"{CONTRACTS}?pageSize={PAGE_ENTRIES}&page={page}"
        contracts = broker.send("GET", path)["data"]["contracts"]
        for contract in contracts:
            if contract["reference"] == reference:
                number: str = contract["contractId"]
                return number
        if len(contracts) < PAGE_ENTRIES:
            break
    return None


def _half_released(broker: Person, anybody: httpx.Client) -> Any:
    """A contract that Huda has paid, and of which Omar has his half."""
    contract = _contract(broker, HALF_RELEASED, "A kitchen", KITCHEN)
    number = contract["contractId"]
    if contract["checkout"] is not None:
        token = contract["checkout"]["token"]
        paid = {"outcome": "paid"}
        answered(anybody.post(f"/sandbox/checkout/{token}/complete", json=paid))
        contract = broker.send("GET", f"{CONTRACTS}/{number}")["data"]
    if contract["status"] == "escrow" and not contract["settlement"]["releasedToSeller"]:
        first = {"contractId": number, "milestoneId": contract["milestones"][0]["Id"]}
        broker.send("POST", f"{CONTRACTS}/release", first, key="story-release")
        contract = broker.send("GET", f"{CONTRACTS}/{number}")["data"]
    return contract


def _paid_daily(olga: Person, broker: Person) -> list[str]:
    """Omar and the broker are paid by a schedule that Olga sets when there is something to pay."""
    if not broker.send("GET", PAYOUTS)["data"]["totalCount"]:
        found = olga.send("GET", BUSINESSES)["data"]
        [business] = [one["businessId"] for one in found if one["clientId"] == broker.id]
        olga.send("PATCH", f"{BUSINESSES}/{business}", {"payoutSchedule": "daily"})
    until = time.monotonic() + DELIVERED_SECONDS_MAX
    while True:
        payouts = broker.send("GET", PAYOUTS)["data"]["payouts"]
        if len(payouts) > 1 or time.monotonic() > until:
            break
        time.sleep(0.2)
    return [
        f"  paid out by the schedule: {'Omar' if one['platformRefId'] else BROKER}"
        f" {money(one['amount'])}  [{one['status']}]"
        for one in payouts
    ]


def _told_of(broker: Person, contract: Any) -> list[str]:
    lines = [f"  {contract['contractId']}  {contract['title']}  [{contract['status']}]"]
    if contract["checkout"] is not None:
        link = contract["checkout"]["url"]
        return [*lines, "    open this in a browser within ten minutes, to pay:", f"    {link}"]
    proof = broker.send("GET", f"{CONTRACTS}/{contract['contractId']}/proof")["data"]
    verdict = "its proof holds" if proof["holds"] else "ITS PROOF DOES NOT HOLD"
    return [
        *lines,
        (
            f"    funded {money(proof['funded'])} = Omar {money(proof['toSeller'])}"
            f" + Huda {money(proof['toBuyer'])} + fees {money(proof['fees'])}"
            f" + tax {money(proof['tax'])} + held {money(proof['held'])}   ({verdict})"
        ),
    ]


# -- telling it -------------------------------------------------------------------------------


def _to_try(url: str, client_id: str, secret: str) -> list[str]:
    """Lines to paste, each using what those before it found."""
    as_broker = '-H "Authorization: Bearer $BROKER"'
    contracts, json = f"{url}{CONTRACTS}", "-H 'Content-Type: application/json' -d"
    form = f"-d grant_type=client_credentials -d client_id={client_id} -d client_secret={secret}"
    phone = HUDA["phoneNumber"]
    people = (
        f'"BuyerParty":{{"phoneNumber":"{phone}","firstName":"Huda","lastName":""}},'
        f'"SellerParty":{{"phoneNumber":"{OMAR["phoneNumber"]}","firstName":"Omar","lastName":""}}'
    )
    parts = (
        f'"Milestones":[{{"Name":"Draft","Amount":600,"DueDate":"{DUE}"}},'
        f'{{"Name":"Final","Amount":400,"DueDate":"{DUE}"}}]'
    )
    logo = f'{{"title":"A logo","contractServiceType":"Service","amount":1000,{people},{parts}}}'
    link = f'{{"externalContractId":"\'$NUMBER\'","buyerPhoneNumber":"{phone}"}}'
    draft = '{"contractId":"\'$NUMBER\'","milestoneId":\'$DRAFT\'}'
    refund = '{"type":"FULL","reason":"The final files never came"}'
    once = '-H "Idempotency-Key: release-$NUMBER"'
    return [
        "",
        f"Try it as {BROKER} (paste into another terminal):",
        "  # a token, good for a day",
        _taken("BROKER", f"curl -s {url}/connect/token {form}", '"access_token":"'),
        "  # a contract with two milestones",
        _taken("NUMBER", f"curl -s {contracts} {as_broker} {json} '{logo}'", '"contractId":"'),
        "  # all of it: every charge, where the money is, a link to pay with",
        f"  curl -s {contracts}/$NUMBER {as_broker}",
        "  # a fresh link for its buyer",
        f"  curl -s {contracts}/checkout {as_broker} {json} '{link}'",
        "  # pay without a browser",
        _taken("LINK", f"curl -s {contracts}/checkout {as_broker} {json} '{link}'", '"token":"'),
        f'  curl -s {url}/sandbox/checkout/$LINK/complete {json} \'{{"outcome":"paid"}}\'',
        "  # release the first milestone; repeat it with the same key: money moves once",
        _taken("DRAFT", f"curl -s {contracts}/$NUMBER {as_broker}", '"milestones":\\[{"Id":'),
        f"  curl -s {contracts}/release {as_broker} {once} {json} '{draft}'",
        "  # give the rest back to the buyer",
        f"  curl -s {contracts}/$NUMBER/refund {as_broker} {json} '{refund}'",
        "  # where all of it is, and what was sent to the receiver",
        f"  curl -s {contracts}/$NUMBER/proof {as_broker}",
        f"  curl -s {url}{WEBHOOKS}/logs {as_broker}",
        "  # what was paid out to its sellers and to itself",
        f"  curl -s {url}{PAYOUTS} {as_broker}",
    ]


def _taken(variable: str, command: str, before: str) -> str:
    """A line that keeps what stands behind `before`; only sed, which is wherever curl is."""
    return f"  {variable}=$({command} | sed 's/.*{before}\\([^\",]*\\).*/\\1/')"
