"""`python -m bench.reference prepare 10000`, `python -m bench.reference serve 8123 16`."""

import asyncio
import json
import sys

import uvicorn
from sqlalchemy import text

from bench.reference.models import Base
from bench.reference.service import build_app, engine_of, token_of

FREELANCERS = 500
ADMIN, CLIENT = f"{1:024x}", f"{2:024x}"

# Keys follow each other from 1 in each table: 1 and 2 are fee_income and provider_cash, then come
# wallets by user, then what is held by contract; user 1 is the admin and user 2 the client.
SEED = (
    """
    INSERT INTO account (kind, currency, balance_minor)
    SELECT CASE n WHEN 1 THEN 'fee_income' WHEN 2 THEN 'provider_cash' ELSE 'wallet' END, 'INR', 0
    FROM generate_series(1, CAST(:users AS bigint) + 2) AS n
    """,
    """
    INSERT INTO user_account (
        public_id, role, status, token_generation, name, email, picture, created_at, wallet_id
    )
    SELECT
        lpad(to_hex(n), 24, '0'), CASE n WHEN 1 THEN 'admin' WHEN 2 THEN 'client'
        ELSE 'freelancer' END, 'Active', 1, 'User ' || n, 'u' || n || '@example.com', '', now(),
        n + 2
    FROM generate_series(1, CAST(:users AS bigint)) AS n
    """,
    """
    INSERT INTO account (kind, currency, balance_minor)
    SELECT 'held', 'INR', 10000 FROM generate_series(1, CAST(:contracts AS bigint))
    """,
    """
    INSERT INTO job (
        public_id, client_id, title, description, rate_minor, currency, created_at
    )
    SELECT
        lpad(to_hex(n), 24, '0'), 2, 'Logo for a bakery', repeat('A logo, three drafts. ', 5),
        10000, 'INR', now()
    FROM generate_series(1, CAST(:contracts AS bigint)) AS n
    """,
    """
    INSERT INTO contract (
        public_id, number, job_id, client_id, freelancer_id, held_id, status, currency,
        amount_minor, created_at, funded_at, updated_at, version
    )
    SELECT
        lpad(to_hex(n), 24, '0'), 'CON' || lpad(n::text, 8, '0'), n, 2,
        3 + floor(random() * (CAST(:users AS bigint) - 2))::bigint,
        CAST(:users AS bigint) + 2 + n, 'release_requested', 'INR', 10000, now(), now(), now(), 1
    FROM generate_series(1, CAST(:contracts AS bigint)) AS n
    """,
    """
    INSERT INTO transfer (debit_id, credit_id, amount_minor, contract_id, movement, created_at)
    SELECT 2, c.held_id, c.amount_minor, c.id, 'funded', now() FROM contract AS c ORDER BY c.id
    """,
    """
    INSERT INTO event (contract_id, sequence, type, actor_id, body, created_at)
    SELECT c.id, 1, 'contract.created', 2, '{"amount_minor": 10000}', now()
    FROM contract AS c ORDER BY c.id
    """,
)


async def prepare(contracts: int) -> None:
    """Make the tables and `contracts` that are ready for release; print who may release them."""
    engine = engine_of(1)
    counts = {"users": FREELANCERS + 2, "contracts": contracts}
    async with engine.begin() as conn:
        await conn.run_sync(Base.metadata.create_all)
        for statement in SEED:
            given = {name: counts[name] for name in counts if f":{name}" in statement}
            await conn.execute(text(statement), given)
    async with engine.connect() as conn:
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        await conn.execute(text("VACUUM (ANALYZE)"))
    await engine.dispose()
    tokens = {"admin": token_of(ADMIN, "admin"), "client": token_of(CLIENT, "client")}
    print(json.dumps(tokens))


def serve(port: int, pool_size: int) -> None:
    uvicorn.run(
        build_app(pool_size),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        asyncio.run(prepare(int(sys.argv[2])))
    else:
        serve(int(sys.argv[2]), int(sys.argv[3]))
