"""Seeded defects: small patches on healthy subjects, each of which some property must catch."""
