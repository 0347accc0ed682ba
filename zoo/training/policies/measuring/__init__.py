"""Policies that only measure."""
