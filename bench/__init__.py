"""Measurements of Earnest against PostgreSQL alone: `make bench`, `make bench QUICK=1`.

Only **ratios within one run** mean anything: what is compared runs in turns, round after round,
on the same server, and the median of the rounds counts. After every round the books must be
right (`bench.books`), or the run fails whatever its figures are.
"""
