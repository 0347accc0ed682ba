"""Campaigns of hostile input against the commands, in one warm process, so that their figures can be had again."""
