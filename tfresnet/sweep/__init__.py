"""Sweeps: what to train (plan), training it (runner), the table of results (table)."""
