"""The partner API: escrow as a service for other platforms."""
