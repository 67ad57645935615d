"""The answer to the research question: derived from a study, put into words, and written as JSON."""
