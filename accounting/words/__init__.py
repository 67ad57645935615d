"""Words that all packages share: routes, methods, units, tasks, quantities, plain text, hints for optional packages."""
