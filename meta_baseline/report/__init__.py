"""One self-contained HTML page from results, figures and tables."""
