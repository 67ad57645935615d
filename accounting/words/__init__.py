"""Words that all packages share: of routes, methods, units and tasks; quantities; plain text; hints for optional packages."""
