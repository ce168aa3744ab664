"""Pure rules: what may happen, and what it is worth. No clock, no I/O, no framework."""
