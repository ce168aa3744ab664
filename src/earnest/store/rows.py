"""Between domain values and database rows, both ways: one place per table.

Rows travel as composite values (`contract[]` in, `SELECT c` out), so they have their table's
columns in order, all of them; columns that the database fills in are None on the way in, and so
are those that never change, once the row is there.
"""

import functools
from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec

from earnest.domain.audit import Event
from earnest.domain.contract import Agreement, Contract, Dispute, Money, Terms, Work
from earnest.domain.party import Member
from earnest.domain.payment import Consumed, Payment, PaymentState
from earnest.domain.refund import Part, Refund, RefundKind, RefundState
from earnest.ledger.movements import Transfer

Row = tuple[Any, ...]

terms_encoder = msgspec.json.Encoder()
terms_decoder = msgspec.json.Decoder(Terms)
_metadata = msgspec.json.Decoder(dict[str, str]).decode
_parts_decoder = msgspec.json.Decoder(tuple[Part, ...])

# Calling an Enum takes ten times as long, and there are five in every contract.
_AGREEMENTS = {one.value: one for one in Agreement}
_WORKS = {one.value: one for one in Work}
_DISPUTES = {one.value: one for one in Dispute}
_MONEYS = {one.value: one for one in Money}
_PAYMENT_STATES = {one.value: one for one in PaymentState}

# Filled by position, for speed: fields and columns have the same order, but for a contract's terms.
_contract: Callable[..., Contract] = Contract
_payment: Callable[..., Payment] = Payment


def member_row(m: Member) -> Row:
    return (
        m.key,
        m.public_id,
        m.business,
        m.name,
        "",
        "",
        m.created_at,
        m.platform_ref,
        m.phone,
        m.first_name,
        m.last_name,
    )


def member_from(row: asyncpg.Record) -> Member:
    """The member in a composite value of table party."""
    return Member(row[0], row[1], row[2], row[7], row[8], row[9], row[10], row[6])


def contract_row(c: Contract) -> Row:
    return (
        c.key,
        *(_contract_for_good(c) if c.version == 1 else (None, c.business, *(None,) * 7)),
        c.version,
        c.commit_id,
        c.updated_at,
        c.agreement,
        c.work,
        c.dispute,
        c.tranches,
        c.funded_at,
        c.settled_at,
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
        c.charged_back,
        c.event_seq,
        c.event_head,
        None,
    )


def _contract_for_good(c: Contract) -> Row:
    """What never changes, and so travels only when the row is made (its business always does)."""
    return (
        c.public_id,
        c.business,
        c.number,
        c.buyer,
        c.seller,
        c.job,
        c.currency,
        c.amount_minor,
        c.created_at,
    )


def terms_row(c: Contract) -> Row:
    return (c.key, c.commit_id, terms_encoder.encode(c.terms).decode())


def _terms(text: str) -> Terms:
    return _remembered(text) if len(text) <= _REMEMBERED_CHARACTERS_MAX else decode_terms(text)


# Terms never change, and whoever made a contract comes back to it.
_REMEMBERED_MAX, _REMEMBERED_CHARACTERS_MAX = 4_096, 4_096
decode_terms = terms_decoder.decode
_remembered = functools.lru_cache(maxsize=_REMEMBERED_MAX)(decode_terms)


def contract_from(row: asyncpg.Record, terms: str) -> Contract:
    """The contract in a composite value of table contract, with its terms as JSON text."""
    return _contract(
        *row[:10],
        _terms(terms),
        *row[10:13],
        _AGREEMENTS[row[13]],
        _WORKS[row[14]],
        _DISPUTES[row[15]],
        tuple([_MONEYS[state] for state in row[16]]),
        *row[17:24],
        None if row[24] is None else _WORKS[row[24]],
        *row[25:32],
    )


def payment_row(p: Payment) -> Row:
    return (
        p.key,
        *(_payment_for_good(p) if p.version == 1 else (None,) * 10),
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


def _payment_for_good(p: Payment) -> Row:
    return (
        p.public_id,
        p.business,
        p.job,
        p.buyer,
        p.seller,
        p.provider_account,
        p.amount_minor,
        p.currency,
        msgspec.json.encode(p.metadata).decode(),
        p.created_at,
    )


def payment_from(row: asyncpg.Record) -> Payment:
    """The payment in a composite value of table payment."""
    return _payment(*row[:9], _metadata(row[9]), *row[10:14], _PAYMENT_STATES[row[14]], *row[15:])


def refund_row(r: Refund) -> Row:
    return (
        r.key,
        r.public_id,
        r.business,
        r.contract,
        r.payment,
        r.kind,
        msgspec.json.encode(r.parts).decode(),
        r.amount_minor,
        r.currency,
        r.reason,
        r.created_at,
        r.version,
        r.commit_id,
        r.updated_at,
        r.state,
        r.attempts,
        r.calls,
        r.due_at,
        r.provider_refund_id,
        r.last_error,
    )


def refund_from(row: asyncpg.Record) -> Refund:
    """The refund in a composite value of table refund."""
    return Refund(
        key=row[0],
        public_id=row[1],
        business=row[2],
        contract=row[3],
        payment=row[4],
        kind=RefundKind(row[5]),
        parts=_parts_decoder.decode(row[6]),
        amount_minor=row[7],
        currency=row[8],
        reason=row[9],
        created_at=row[10],
        version=row[11],
        commit_id=row[12],
        updated_at=row[13],
        state=RefundState(row[14]),
        attempts=row[15],
        calls=row[16],
        due_at=row[17],
        provider_refund_id=row[18],
        last_error=row[19],
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
        None,  # xid: the database's
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
