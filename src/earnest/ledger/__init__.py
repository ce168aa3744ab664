"""The ledger: where money is, and how it got there."""
