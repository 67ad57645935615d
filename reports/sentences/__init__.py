"""What the reports' data say of a study in sentences, for every output that shows them: page, answers, status, `run`."""
