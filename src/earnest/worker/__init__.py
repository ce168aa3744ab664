"""The background loop: what becomes due happens here, with no request waiting for it."""
