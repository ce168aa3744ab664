"""The reference: releasing funds as an able engineer of an ordinary team writes it, with FastAPI,
pydantic and SQLAlchemy's ORM. It runs in .venv-peers and imports nothing of Earnest.

`python -m bench.reference prepare 10000` makes its tables and contracts, `serve 8123 16` serves;
the database is named by PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE.

It does what a release of Earnest does, in one database transaction: a bearer token verified, its
user looked up, role and ownership checked, the idempotency key looked up and its reply kept, the
contract read with its job and both people, compared and swapped by its version, two transfers, two
running balances, one event, the same answer. It does less where Earnest does more: events have no
hash chain, there are no tranches, no policies of a business, no metrics, no guard.

What was done for its speed: uvloop and httptools, one process as Earnest has; statements prepared
once per connection; a pool of the size that is fastest here; no logging, no documentation routes;
contract, job and people in one joined statement, and no lazy loads; the account keys stand on
contract and user, so that no account is read; balances are added to by SQL, not read and written;
fees are summed from transfers, so that nobody queues on one row; the shared row, the wallet, is
locked last; the answer is rendered once by pydantic; nothing is expired or flushed twice; orjson
for event bodies; the garbage collector is told what stays; room on pages for updates in place.
"""
