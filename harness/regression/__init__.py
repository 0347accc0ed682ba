"""Verdicts against those of before: the committed certificates, and single cases once more."""
