"""Properties of a subject: search, verdicts and certificates."""
