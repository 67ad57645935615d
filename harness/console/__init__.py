"""What a command says in a terminal: progress, events, plans, endings, errors."""
