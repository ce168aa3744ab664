"""Mutation testing of the rules and of the ledger: `make mutants`, docs/mutants.md."""
