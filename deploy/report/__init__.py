"""Show the results of an export: a table, a page, figures, and a model card."""
