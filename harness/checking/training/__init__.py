"""A trainer under test: small trainings that are observed, and an independent loop to compare them with."""
