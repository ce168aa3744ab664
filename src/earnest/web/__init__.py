"""What every face needs to speak HTTP: who is calling, strict bodies, idempotency, errors."""
