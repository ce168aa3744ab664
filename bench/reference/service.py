"""The service: PUT /api/admin/escrow/release-fund/{contract_id}."""

import gc
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import jwt
import orjson
from fastapi import Depends, FastAPI, Header, HTTPException, Path, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import bindparam, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import joinedload
from sqlalchemy.orm.exc import StaleDataError

from bench.reference.models import Account, Contract, Event, IdempotencyKey, Transfer, User

SECRET = "the secret of the reference, 32 b"
ISSUER, AUDIENCE = "reference", "reference-marketplace"
FEE_BPS = 1_000
FEE_INCOME_ID = 1
"""The first account that is made."""

ROUTE = "PUT /api/admin/escrow/release-fund/{contract_id}"
ATTEMPTS_MAX = 3
CLAIMS = ["sub", "role", "gen", "exp", "iat", "iss", "aud"]

# Put together once, so that no request spends a tenth of a millisecond on it.
CALLER = select(User).where(User.public_id == bindparam("user"))
KNOWN = select(IdempotencyKey).where(
    IdempotencyKey.user_id == bindparam("user_id"),
    IdempotencyKey.route == ROUTE,
    IdempotencyKey.key == bindparam("key"),
)
DOCUMENTED = (
    select(Contract)
    .where(Contract.public_id == bindparam("contract"))
    .options(
        joinedload(Contract.job, innerjoin=True),
        joinedload(Contract.client, innerjoin=True),
        joinedload(Contract.freelancer, innerjoin=True),
    )
)
ADD = (
    update(Account)
    .where(Account.id == bindparam("account"))
    .values(balance_minor=Account.balance_minor + bindparam("added_minor"))
    .execution_options(synchronize_session=False)
)


class Escrow(BaseModel):
    """What became of a contract's money. Amounts in major units."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    id: str = Field(alias="_id")
    client_id: str = Field(alias="clientId")
    freelancer_id: str = Field(alias="freelancerId")
    contract_id: str = Field(alias="contractId")
    job_id: str = Field(alias="jobId")
    amount: float
    platform_fee: float = Field(alias="platformFee")
    freelancer_earning: float = Field(alias="freelancerEarning")
    status: str
    transaction_type: str = Field(alias="transactionType")
    provider_session_id: str | None = Field(alias="providerSessionId")
    provider_payment_id: str | None = Field(alias="providerPaymentId")
    created_at: datetime = Field(alias="createdAt")
    updated_at: datetime = Field(alias="updatedAt")
    v: int = Field(default=0, alias="__v")


class Settled(BaseModel):
    message: str
    data: Escrow


class Claims(BaseModel):
    """What a token says: whose it is, and of which generation."""

    sub: str
    role: str
    gen: int


def token_of(user: str, role: str) -> str:
    """An access token for two hours, as signing in would give it."""
    now = datetime.now(UTC)
    claims: dict[str, Any] = {
        "sub": user,
        "role": role,
        "gen": 1,
        "iat": now,
        "exp": now + timedelta(hours=2),
        "iss": ISSUER,
        "aud": AUDIENCE,
    }
    return jwt.encode(claims, SECRET, algorithm="HS256")


async def bearer(authorization: Annotated[str, Header()] = "") -> Claims:
    """The claims of the caller's token; 401 without a good one."""
    scheme, _, token = authorization.partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise jwt.InvalidTokenError
        claims = jwt.decode(
            token,
            SECRET,
            algorithms=["HS256"],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={"require": CLAIMS},
        )
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "A valid access token is needed.") from error
    return Claims.model_validate(claims)


async def release(
    session: AsyncSession, claims: Claims, contract_id: str, key: str | None
) -> bytes:
    """Release what is held for the contract, within the transaction of `session`; the reply."""
    user = await session.scalar(CALLER, {"user": claims.sub})
    if user is None or user.status != "Active" or user.token_generation != claims.gen:
        raise HTTPException(401, "This account is blocked or signed out.")
    if user.role != "admin" or claims.role != "admin":
        raise HTTPException(403, "Only admins release funds.")

    # In this order: whoever sees the contract released sees the reply of that release, too.
    contract = await session.scalar(DOCUMENTED, {"contract": contract_id})
    request_hash = hashlib.sha256(f"{ROUTE} {contract_id}".encode()).digest()
    if key is not None:
        known = await session.scalar(KNOWN, {"user_id": user.id, "key": key})
        if known is not None:
            if known.request_hash != request_hash:
                raise HTTPException(422, "This Idempotency-Key was used for another request.")
            return known.reply

    if contract is None:
        raise HTTPException(404, "Contract not found.")
    if user.id in (contract.client_id, contract.freelancer_id):
        raise HTTPException(403, "Nobody releases funds of a contract of their own.")
    if contract.status != "release_requested":
        raise HTTPException(409, f"The contract is {contract.status}.")

    now = datetime.now(UTC)
    fee_minor = (contract.amount_minor * FEE_BPS + 5_000) // 10_000
    earning_minor = contract.amount_minor - fee_minor
    contract.status = "released"
    contract.settled_at = contract.updated_at = now
    reply = _reply(contract, fee_minor)
    session.add_all(
        [
            _transfer(contract, contract.freelancer.wallet_id, earning_minor, now),
            _transfer(contract, FEE_INCOME_ID, fee_minor, now),
            Event(
                contract_id=contract.id,
                sequence=contract.version + 1,
                type="contract.released",
                actor_id=user.id,
                body={"amount_minor": contract.amount_minor, "earning_minor": earning_minor},
                created_at=now,
            ),
        ]
    )
    if key is not None:
        session.add(
            IdempotencyKey(
                user_id=user.id,
                route=ROUTE,
                key=key,
                request_hash=request_hash,
                reply=reply,
                created_at=now,
            )
        )
    await session.flush()
    for account, added_minor in (
        (contract.held_id, -contract.amount_minor),
        (contract.freelancer.wallet_id, earning_minor),
    ):
        await session.execute(ADD, {"account": account, "added_minor": added_minor})
    return reply


def _transfer(contract: Contract, credit_id: int, amount_minor: int, now: datetime) -> Transfer:
    return Transfer(
        debit_id=contract.held_id,
        credit_id=credit_id,
        amount_minor=amount_minor,
        contract_id=contract.id,
        movement="released",
        created_at=now,
    )


def _reply(contract: Contract, fee_minor: int) -> bytes:
    escrow = Escrow(
        id=contract.public_id,
        client_id=contract.client.public_id,
        freelancer_id=contract.freelancer.public_id,
        contract_id=contract.public_id,
        job_id=contract.job.public_id,
        amount=contract.amount_minor / 100,
        platform_fee=fee_minor / 100,
        freelancer_earning=(contract.amount_minor - fee_minor) / 100,
        status="released",
        transaction_type="debit",
        provider_session_id=contract.provider_session_id,
        provider_payment_id=contract.provider_payment_id,
        created_at=contract.funded_at,
        updated_at=contract.updated_at,
    )
    return Settled(message="Fund has been released", data=escrow).model_dump_json().encode()


def engine_of(pool_size: int) -> AsyncEngine:
    """Connections to the database that the environment names."""
    return create_async_engine(
        "postgresql+asyncpg://",
        pool_size=pool_size,
        max_overflow=0,
        pool_use_lifo=True,
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
    )


def build_app(pool_size: int) -> FastAPI:
    """The application with `pool_size` connections to the database."""
    engine = engine_of(pool_size)
    sessions = async_sessionmaker(engine, expire_on_commit=False, autoflush=False)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        yield
        await engine.dispose()

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.put("/api/admin/escrow/release-fund/{contract_id}")
    async def release_fund(
        contract_id: Annotated[str, Path(pattern="^[0-9a-f]{24}$")],
        claims: Annotated[Claims, Depends(bearer)],
        idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
    ) -> Response:
        """Release what is held to the freelancer, less the platform's fee."""
        for _ in range(ATTEMPTS_MAX):
            try:
                async with sessions.begin() as session:
                    reply = await release(session, claims, contract_id, idempotency_key)
            except (StaleDataError, IntegrityError):
                continue  # somebody was first: look again at what is there now
            return Response(reply, media_type="application/json")
        raise HTTPException(409, "The contract is being changed by others.")

    return app
