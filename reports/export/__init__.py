"""Export of tables as CSV and Parquet, and of text as LaTeX and Markdown."""
