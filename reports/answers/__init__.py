"""The answer to the research question: found in a study, put into words, written as JSON."""
