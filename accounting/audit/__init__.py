"""Whether a ledger adds up, and what is wrong if it does not."""
