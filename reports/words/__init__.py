"""How the report says things: numbers, labels, colours."""
