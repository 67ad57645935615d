"""Several studies side by side: what can be compared between them, what cannot, and why."""
