"""Certificates in the formats of other programs."""
