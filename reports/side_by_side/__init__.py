"""Several studies beside each other: what of them can be compared, what cannot, and why."""
