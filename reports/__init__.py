"""From a study folder to frames, statistics, a verdict, figures and one page. Never imports torch or ray."""
