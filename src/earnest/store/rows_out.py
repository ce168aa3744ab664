"""As `earnest.store.rows`, for what goes out: payouts, chargebacks, booked lines."""

import asyncpg
import msgspec

from earnest.domain.chargeback import Booking, Chargeback, ChargebackState, Line
from earnest.domain.payout import Cause, Leg, Payout, PayoutState
from earnest.store.rows import Row

_lines_decoder = msgspec.json.Decoder(tuple[Line, ...])


def payout_row(p: Payout) -> Row:
    return (
        p.key,
        p.public_id,
        p.business,
        p.party,
        p.provider_account,
        p.external_account,
        p.cause,
        p.amount_minor,
        p.currency,
        p.created_at,
        p.version,
        p.commit_id,
        p.updated_at,
        p.state,
        p.leg,
        p.attempts,
        p.calls,
        p.due_at,
        p.provider_transfer_id,
        p.provider_payout_id,
        p.paid_at,
        p.last_error,
    )


def payout_from(row: asyncpg.Record) -> Payout:
    """The payout in a composite value of table payout."""
    return Payout(
        key=row[0],
        public_id=row[1],
        business=row[2],
        party=row[3],
        provider_account=row[4],
        external_account=row[5],
        cause=Cause(row[6]),
        amount_minor=row[7],
        currency=row[8],
        created_at=row[9],
        version=row[10],
        commit_id=row[11],
        updated_at=row[12],
        state=PayoutState(row[13]),
        leg=Leg(row[14]),
        attempts=row[15],
        calls=row[16],
        due_at=row[17],
        provider_transfer_id=row[18],
        provider_payout_id=row[19],
        paid_at=row[20],
        last_error=row[21],
    )


def chargeback_row(c: Chargeback) -> Row:
    return (
        c.key,
        c.public_id,
        c.business,
        c.payment,
        c.contract,
        c.provider_account,
        c.provider_dispute_id,
        c.currency,
        c.created_at,
        c.version,
        c.commit_id,
        c.updated_at,
        c.state,
        c.amount_minor,
        c.reason,
        c.evidence_due_at,
        msgspec.json.encode(c.lines).decode(),
        c.attempts,
        c.due_at,
        c.last_error,
    )


def chargeback_from(row: asyncpg.Record) -> Chargeback:
    """The chargeback in a composite value of table chargeback."""
    return Chargeback(
        key=row[0],
        public_id=row[1],
        business=row[2],
        payment=row[3],
        contract=row[4],
        provider_account=row[5],
        provider_dispute_id=row[6],
        currency=row[7],
        created_at=row[8],
        version=row[9],
        commit_id=row[10],
        updated_at=row[11],
        state=ChargebackState(row[12]),
        amount_minor=row[13],
        reason=row[14],
        evidence_due_at=row[15],
        lines=_lines_decoder.decode(row[16]),
        attempts=row[17],
        due_at=row[18],
        last_error=row[19],
    )


def booking_row(commit_id: int, b: Booking) -> Row:
    return (b.provider_account, b.line_id, commit_id, b.kind, b.amount_minor, b.currency)
