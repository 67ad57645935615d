"""What a network and its making cost: MACs, device-seconds, the ledger, charge policies, the audit. A leaf."""
