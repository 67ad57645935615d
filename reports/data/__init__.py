"""From a study's folder to frames."""
