"""The driver: `python -m bench.hordak prepare`, `python -m bench.hordak drive`."""

import os
import random
import sys
import time
from collections import Counter
from multiprocessing import get_context
from multiprocessing.connection import Connection

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bench.hordak.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from hordak.models import Account, AccountType, Transaction  # noqa: E402
from moneyed import Money  # noqa: E402

ACCOUNTS = 1_000
AMOUNT = Money(1, "INR")
PROCESSES_MAX = 8


def prepare() -> None:
    """Tables, triggers and accounts, all of them assets."""
    call_command("migrate", verbosity=0)
    with transaction.atomic(), Account.objects.delay_mptt_updates():
        for number in range(ACCOUNTS):
            Account.objects.create(
                name=f"Account {number}", type=AccountType.asset, currencies=["INR"]
            )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")


def drive() -> None:
    """Carry out one line of standard input after the other."""
    context = get_context("fork")
    workers = []
    for _ in range(PROCESSES_MAX):  # before this process has a connection of its own
        ours, theirs = context.Pipe()
        context.Process(target=_work, args=(theirs,), daemon=True).start()
        workers.append(ours)
    expected: Counter[int] = Counter()
    made = 0
    for line in sys.stdin:
        processes, transfers = map(int, line.split())
        chosen = workers[:processes]
        for worker in chosen:
            worker.send(transfers // processes)
        for worker in chosen:
            worker.recv()  # it is ready
        for worker in chosen:
            worker.send("go")
        told = [worker.recv() for worker in chosen]
        for _, _, moved in told:
            expected.update(moved)
        done = transfers // processes * processes
        made += done
        seconds = max(end for _, end, _ in told) - min(begun for begun, _, _ in told)
        print(wrong(expected, made) or f"{done / seconds:.1f}", flush=True)


def _work(orders: Connection) -> None:
    """Transfers by one process, on a connection that stays open. It answers how long they took
    and what each account must have gained by them."""
    accounts = list(Account.objects.all())
    while True:
        count = orders.recv()
        pairs = [random.sample(accounts, 2) for _ in range(count)]
        orders.send("ready")
        orders.recv()
        begun = time.perf_counter()
        for source, target in pairs:
            source.transfer_to(target, AMOUNT)
        end = time.perf_counter()
        moved: Counter[int] = Counter()
        for source, target in pairs:
            moved[source.pk] -= 1
            moved[target.pk] += 1
        orders.send((begun, end, moved))


def wrong(expected: Counter[int], made: int) -> str | None:
    """What is wrong with the books, by hordak's own balances: each account must have what was moved
    to it, less what was moved from it."""
    found = Transaction.objects.count()
    if found != made:
        return f"wrong: {made} transfers were made, {found} are there"
    for account in Account.objects.with_balances():
        if account.balance["INR"].amount != expected[account.pk]:
            has, must = account.balance, expected[account.pk]
            return f"wrong: {account.name} has {has} and must have {must}"
    return None


if __name__ == "__main__":
    prepare() if sys.argv[1] == "prepare" else drive()
