"""Names of metrics that training records and several rooms read."""

GATE_SHARE = "memory/gate_share/"
"""Before the name of a memory source: its share of the output."""
