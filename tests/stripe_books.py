"""What Stripe's double remembers: objects, who owns them, money moved, events told.

An **object** is what Stripe would answer with, as a dict; its **owner** is a connected account, or
None for the platform itself. A **balance transaction** is written for everything that moves money.
Invariant: a balance is the sum of its balance transactions, there is no other memory of it.
"""

import copy
import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec
import stripe

from stripe_wire import Object, Refused, missing

# What a type of balance transaction is called in Stripe's reports, where that is another word.
CATEGORIES = {
    "payment": "charge",
    "payment_refund": "refund",
    "payout_cancel": "payout_reversal",
    "payout_failure": "payout_reversal",
    "stripe_fee": "fee",
    "transfer_refund": "transfer_reversal",
}


class Call(msgspec.Struct, frozen=True):
    """A request that was understood: the ids of its path, its parameters, who it is about."""

    ids: tuple[str, ...]
    params: Object
    account: str | None
    path: str


class Books:
    """All objects by id, in the order of their birth.

    `fee_bps` and `fee_minor` are what Stripe keeps of a charge; `settles_after_seconds` is how long
    a charge is pending before it is available; `refund_status` is what new refunds are; `lines` and
    `intent_data` belong to sessions, by their id; `clock` says the time in Unix seconds;
    `platform` is the account itself, as its owner has set it.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.objects: dict[str, Object] = {}
        self.events: list[Object] = []
        self.fee_bps, self.fee_minor, self.settles_after_seconds = 290, 30, 0
        self.refund_status = "succeeded"
        self.platform = _platform()
        self.lines: dict[str, list[Object]] = {}
        self.intent_data: dict[str, Object] = {}
        self._owners: dict[str, str | None] = {}
        self._kinds: dict[str, dict[str, Object]] = defaultdict(dict)
        self._pending: list[Object] = []
        self._numbers = itertools.count(1)

    @property
    def now(self) -> int:
        return int(self.clock())

    def number(self, prefix: str) -> str:
        """An id that was not there before, and is greater than all before."""
        return f"{prefix}_{next(self._numbers):016d}"

    def add(self, prefix: str, kind: str, owner: str | None = None, **fields: Any) -> Object:
        """A new object of this kind."""
        if "metadata" in fields:
            fields["metadata"] = told(fields["metadata"])
        id_ = self.number(prefix)
        new = {"id": id_, "object": kind, "created": self.now} | fields
        self.objects[id_] = self._kinds[kind][id_] = new
        self._owners[id_] = owner
        return new

    def find(self, kind: str, id_: str, owner: str | None = None, param: str = "id") -> Object:
        """The object itself, to be changed in place. Refused when the owner has none such."""
        found = self.objects.get(id_)
        if found is None or found["object"] != kind or self._owners[id_] != owner:
            raise missing(kind, id_, param)
        return found

    def owner(self, of: Object) -> str | None:
        return self._owners[of["id"]]

    def all(self, kind: str) -> dict[str, Object]:
        """Everything of a kind by its id, oldest first, whoever owns it."""
        return self._kinds[kind]

    def of(self, kind: str, owner: str | None = None, **wanted: Any) -> list[Object]:
        """What this owner has of a kind, oldest first, where these fields are as wanted."""
        return [
            each
            for each in self._kinds[kind].values()
            if self._owners[each["id"]] == owner and wanted.items() <= each.items()
        ]

    def tell(self, type_: str, subject: Object, owner: str | None = None) -> Object:
        """An event about the object as it is now."""
        event: Object = {
            "id": self.number("evt"),
            "object": "event",
            "api_version": stripe.api_version,
            "created": self.now,
            "data": {"object": copy.deepcopy(subject)},
            "livemode": False,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": type_,
        }
        if owner is not None:
            event["account"] = owner
        self.events.append(event)
        return event

    # -- money ------------------------------------------------------------------------------

    def book(
        self,
        type_: str,
        amount: int,
        currency: str,
        source: str | None,
        *,
        fee: int = 0,
        owner: str | None = None,
        available_on: int | None = None,
        category: str | None = None,
    ) -> str:
        """Move `amount` less `fee` on the owner's balance; the id of the balance transaction."""
        fees = [{"amount": fee, "application": None, "currency": currency, "type": "stripe_fee"}]
        row = self.add(
            "txn",
            "balance_transaction",
            owner,
            amount=amount,
            available_on=self.now if available_on is None else available_on,
            balance_type="payments",
            currency=currency,
            description=None,
            exchange_rate=None,
            fee=fee,
            fee_details=[each for each in fees if fee],
            net=amount - fee,
            reporting_category=category or CATEGORIES.get(type_, type_),
            source=source,
            status="pending",
            type=type_,
        )
        self._pending.append(row)
        self.pass_time()
        return str(row["id"])

    def pass_time(self) -> None:
        """What was pending until now is available from now on."""
        due = [row for row in self._pending if row["available_on"] <= self.now]
        self._pending = [row for row in self._pending if row["available_on"] > self.now]
        for row in due:
            row["status"] = "available"

    def balance(self, status: str, owner: str | None = None) -> dict[str, int]:
        """What is "available", or "pending", of each currency that ever moved."""
        self.pass_time()
        sums: dict[str, int] = {}
        for row in self.of("balance_transaction", owner):
            counted = row["net"] if row["status"] == status else 0
            sums[row["currency"]] = sums.get(row["currency"], 0) + counted
        return sums

    # -- answers ----------------------------------------------------------------------------

    def page(self, rows: list[Object], call: Call) -> Object:
        """`rows`, given oldest first, as Stripe lists them: newest first, a page at a time."""
        params = call.params
        rows = [row for row in reversed(rows) if self._created_within(row, params.get("created"))]
        limit = params.get("limit", 10)
        if not 1 <= limit <= 100:
            raise Refused("limit is from 1 to 100.", param="limit")
        if (after := params.get("starting_after")) is not None:
            rows = rows[_index(rows, after, "starting_after") + 1 :]
        if (before := params.get("ending_before")) is not None:
            kept = rows[: _index(rows, before, "ending_before")]
            data, more = kept[-limit:], len(kept) > limit
        else:
            data, more = rows[:limit], len(rows) > limit
        return {"object": "list", "data": data, "has_more": more, "url": call.path}

    def _created_within(self, row: Object, wanted: int | Object | None) -> bool:
        if wanted is None:
            return True
        created: int = row["created"]
        if isinstance(wanted, int):
            return created == wanted
        least = max(wanted.get("gte", 0), wanted.get("gt", -1) + 1)
        most = min(wanted.get("lte", created), wanted.get("lt", created + 1) - 1)
        return bool(least <= created <= most)

    def expanded(self, answer: Object, paths: list[str]) -> Object:
        """A copy of the answer in which these fields hold objects instead of their ids."""
        answer = copy.deepcopy(answer)
        for path in paths:
            for row in answer["data"] if path.startswith("data.") else [answer]:
                self._expand(row, path.removeprefix("data."), path)
        return answer

    def _expand(self, row: Object, path: str, full: str) -> None:
        name, _, rest = path.partition(".")
        if name not in row or not isinstance(row[name], str | dict | None):
            raise Refused(f"{full} cannot be expanded.", param="expand[0]", begun=True)
        if isinstance(row[name], str):
            if row[name] not in self.objects:
                raise Refused(f"{full} cannot be expanded.", param="expand[0]", begun=True)
            row[name] = copy.deepcopy(self.objects[row[name]])
        if rest and row[name] is not None:
            self._expand(row[name], rest, full)


def _platform() -> Object:
    """An account that does all that it can, and pays its owner only when told to."""
    nothing = ("currently_due", "eventually_due", "past_due", "pending_verification")
    return {
        "id": "acct_platform",
        "object": "account",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "metadata": {},
        "payouts_enabled": True,
        "requirements": {"disabled_reason": None, **{name: [] for name in nothing}},
        "settings": {
            "payouts": {
                "debit_negative_balances": True,
                "schedule": {"delay_days": 2, "interval": "manual"},
                "statement_descriptor": None,
            },
        },
    }


def told(metadata: Object | str) -> Object:
    """Metadata as Stripe keeps it: an empty text unsets a key, or all of them."""
    return {} if isinstance(metadata, str) else {k: v for k, v in metadata.items() if v}


def _index(rows: list[Object], id_: str, param: str) -> int:
    for n, row in enumerate(rows):
        if row["id"] == id_:
            return n
    raise missing("object", id_, param)
