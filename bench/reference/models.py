"""Its tables. Amounts are integers in minor units; whoever is told of a row knows its public id."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Integers are bigints, instants have a zone, dictionaries are jsonb."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy declares it without ClassVar
        int: BigInteger,
        datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB,
    }


class Account(Base):
    """An account of the ledger. `balance_minor` runs for kinds held and wallet; the balance of the
    others, fee_income and provider_cash, is the sum of their transfers."""

    __tablename__ = "account"
    __table_args__ = (
        CheckConstraint("balance_minor >= 0", name="account_floor"),
        {"postgresql_with": {"fillfactor": 70}},
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    kind: Mapped[str]
    currency: Mapped[str]
    balance_minor: Mapped[int]


class User(Base):
    """Whoever signs in: client, freelancer or admin. Each has a wallet from the first day."""

    __tablename__ = "user_account"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    public_id: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    status: Mapped[str]
    token_generation: Mapped[int]
    name: Mapped[str]
    email: Mapped[str] = mapped_column(unique=True)
    picture: Mapped[str]
    created_at: Mapped[datetime]
    wallet_id: Mapped[int] = mapped_column(ForeignKey("account.id"))


class Job(Base):
    """What a client wants done."""

    __tablename__ = "job"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    public_id: Mapped[str] = mapped_column(unique=True)
    client_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"), index=True)
    title: Mapped[str]
    description: Mapped[str]
    rate_minor: Mapped[int]
    currency: Mapped[str]
    created_at: Mapped[datetime]


class Contract(Base):
    """Money held between a client and a freelancer; `version` counts its changes."""

    __tablename__ = "contract"
    __table_args__ = (
        Index("contract_by_client", "client_id", "id"),
        Index("contract_by_freelancer", "freelancer_id", "id"),
        {"postgresql_with": {"fillfactor": 85}},
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    public_id: Mapped[str] = mapped_column(unique=True)
    number: Mapped[str] = mapped_column(unique=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), index=True)
    client_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"))
    freelancer_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"))
    held_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    status: Mapped[str]
    currency: Mapped[str]
    amount_minor: Mapped[int]
    provider_session_id: Mapped[str | None]
    provider_payment_id: Mapped[str | None]
    created_at: Mapped[datetime]
    funded_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]
    version: Mapped[int] = mapped_column()

    job: Mapped[Job] = relationship(lazy="raise")
    client: Mapped[User] = relationship(foreign_keys=[client_id], lazy="raise")
    freelancer: Mapped[User] = relationship(foreign_keys=[freelancer_id], lazy="raise")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012


class Transfer(Base):
    """One amount from one account to another."""

    __tablename__ = "transfer"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="transfer_amount_positive"),
        CheckConstraint("debit_id <> credit_id", name="transfer_two_accounts"),
    )

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    debit_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    credit_id: Mapped[int] = mapped_column(ForeignKey("account.id"), index=True)
    amount_minor: Mapped[int]
    contract_id: Mapped[int] = mapped_column(ForeignKey("contract.id"))
    movement: Mapped[str]
    created_at: Mapped[datetime]


class Event(Base):
    """What happened to a contract, in order; `sequence` is the version it led to."""

    __tablename__ = "event"
    __table_args__ = (UniqueConstraint("contract_id", "sequence"),)

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    contract_id: Mapped[int] = mapped_column(ForeignKey("contract.id"))
    sequence: Mapped[int]
    type: Mapped[str]
    actor_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"))
    body: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class IdempotencyKey(Base):
    """A request that was carried out, and its reply."""

    __tablename__ = "idempotency_key"

    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id"), primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes]
    reply: Mapped[bytes]
    created_at: Mapped[datetime]
