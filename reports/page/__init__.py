"""The page: content, sections, one HTML file."""
