"""What everything cost: attempts, their intervals and split, charge policies, lineage. Derived from the ledger when read."""
