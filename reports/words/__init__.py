"""How reports present things: numbers, labels, colours."""
