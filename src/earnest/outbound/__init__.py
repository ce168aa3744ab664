"""What this server sends to addresses that somebody else chose, and how it stays harmless."""
