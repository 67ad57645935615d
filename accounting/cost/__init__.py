"""What everything cost, derived from the ledger when read: attempts, their intervals and split, charge policies, lineage."""
