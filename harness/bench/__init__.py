"""Measurements of time and memory: run by hand, never tests."""
