"""Many runs and one table: what to run (plan), running it (runner), what came out (table)."""
