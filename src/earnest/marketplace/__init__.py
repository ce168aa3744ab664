"""The marketplace face: the JSON API of spec/marketplace-api.md under /api."""
