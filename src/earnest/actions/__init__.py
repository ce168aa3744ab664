"""What may be asked of Earnest: one async function per verb, shared by every face."""
