"""django-hordak moving money between random accounts, as fast as it can. It runs in .venv-peers and
imports nothing of Earnest.

`python -m bench.hordak prepare` migrates its database and opens accounts; `python -m bench.hordak
drive` reads what to do from standard input, a line `PROCESSES TRANSFERS` each, and answers each
with a line: how many transfers a second, or what is wrong with its books.

The database is named by PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE.
"""
