"""Payment providers: everything outside that holds, moves or reports real money."""
