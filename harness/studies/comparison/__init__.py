"""Which variant is stabler, at what cost, and why: runs side by side, as a table, as pictures, as a report."""
