"""The progress of a study, as `status` shows it. Reads the ledger only."""
