"""Earnest: a self-hosted escrow contracts server.

A contract binds a buyer and a seller; money is paid in, held on a double-entry
ledger, and released or refunded under rules that nobody can bend.
"""

__version__ = "0.1.0"
