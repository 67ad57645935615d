"""Words that all packages share: plain text, quantities, hints for optional packages."""
