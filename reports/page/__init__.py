"""The report's page: its content, its sections, and one HTML file."""
