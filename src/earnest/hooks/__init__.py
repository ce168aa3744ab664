"""What payment providers tell us: verify, then act; answer 200 only when it is durable."""
