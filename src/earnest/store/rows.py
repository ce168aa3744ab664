"""Between domain values and database rows, both ways: one place per table.

The tuples are composite values, so they have their table's columns in order, all of them;
columns that the database fills in are None.
"""

from typing import Any

import asyncpg
import msgspec

from earnest.domain.audit import Event
from earnest.domain.contract import Agreement, Contract, Dispute, Money, Terms, Work
from earnest.domain.payment import Consumed, Payment, PaymentState
from earnest.ledger.movements import Transfer

Row = tuple[Any, ...]

terms_encoder = msgspec.json.Encoder()
terms_decoder = msgspec.json.Decoder(Terms)


def contract_row(c: Contract) -> Row:
    return (
        c.key,
        c.public_id,
        c.business,
        c.number,
        c.buyer,
        c.seller,
        c.job,
        c.currency,
        c.amount_minor,
        c.created_at,
        c.version,
        c.commit_id,
        c.updated_at,
        c.agreement,
        c.work,
        c.dispute,
        c.tranches,
        c.started_at,
        c.ongoing_at,
        c.completed_at,
        c.cancelled_at,
        c.cancelled_by,
        c.cancelled_work,
        c.cancel_reason,
        c.cancel_reason_description,
        c.refund_requested_at,
        c.unclaimed,
        c.event_seq,
        c.event_head,
        None,
    )


def terms_row(c: Contract) -> Row:
    return (c.key, c.commit_id, terms_encoder.encode(c.terms).decode())


def contract_from(row: asyncpg.Record, at: int = 0) -> Contract:
    """The contract in the columns of `row` from `at`: CONTRACT_COLUMNS, then the terms."""
    return Contract(
        key=row[at],
        public_id=row[at + 1],
        business=row[at + 2],
        number=row[at + 3],
        buyer=row[at + 4],
        seller=row[at + 5],
        job=row[at + 6],
        currency=row[at + 7],
        amount_minor=row[at + 8],
        created_at=row[at + 9],
        version=row[at + 10],
        commit_id=row[at + 11],
        updated_at=row[at + 12],
        agreement=Agreement(row[at + 13]),
        work=Work(row[at + 14]),
        dispute=Dispute(row[at + 15]),
        tranches=tuple(map(Money, row[at + 16])),
        started_at=row[at + 17],
        ongoing_at=row[at + 18],
        completed_at=row[at + 19],
        cancelled_at=row[at + 20],
        cancelled_by=row[at + 21],
        cancelled_work=Work(row[at + 22]) if row[at + 22] is not None else None,
        cancel_reason=row[at + 23],
        cancel_reason_description=row[at + 24],
        refund_requested_at=row[at + 25],
        unclaimed=row[at + 26],
        event_seq=row[at + 27],
        event_head=row[at + 28],
        terms=terms_decoder.decode(row[at + 29]),
    )


CONTRACT_WIDTH = 30


def payment_row(p: Payment) -> Row:
    return (
        p.key,
        p.public_id,
        p.business,
        p.job,
        p.buyer,
        p.seller,
        p.provider_account,
        p.amount_minor,
        p.currency,
        p.created_at,
        p.version,
        p.commit_id,
        p.updated_at,
        p.state,
        p.contract,
        p.session_id,
        p.session_url,
        p.session_expires_at,
        p.provider_payment_id,
        p.captured_at,
    )


def payment_from(row: asyncpg.Record, at: int = 0) -> Payment:
    """The payment in the twenty columns of `row` from `at`, in the table's order."""
    return Payment(
        key=row[at],
        public_id=row[at + 1],
        business=row[at + 2],
        job=row[at + 3],
        buyer=row[at + 4],
        seller=row[at + 5],
        provider_account=row[at + 6],
        amount_minor=row[at + 7],
        currency=row[at + 8],
        created_at=row[at + 9],
        version=row[at + 10],
        commit_id=row[at + 11],
        updated_at=row[at + 12],
        state=PaymentState(row[at + 13]),
        contract=row[at + 14],
        session_id=row[at + 15],
        session_url=row[at + 16],
        session_expires_at=row[at + 17],
        provider_payment_id=row[at + 18],
        captured_at=row[at + 19],
    )


def event_row(e: Event) -> Row:
    return (
        e.key,
        e.commit_id,
        e.contract,
        e.seq,
        e.subject,
        e.type,
        e.actor,
        e.recorded_at,
        e.body,
        e.hash,
    )


def transfer_row(t: Transfer) -> Row:
    return (
        t.key,
        t.commit_id,
        t.movement,
        t.debit,
        t.credit,
        t.amount_minor,
        t.contract,
        t.payment,
        None,
        t.occurred_at,
        t.recorded_at,
        None,
    )


def inbox_row(commit_id: int, consumed: Consumed) -> Row:
    capture = consumed.capture
    return (
        capture.provider,
        capture.event_id,
        commit_id,
        capture.type,
        capture.session_id,
        consumed.outcome,
        consumed.reason,
        consumed.took_money,
        capture.payload,
        consumed.received_at,
    )
