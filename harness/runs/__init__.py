"""One run: training it into a run folder, resuming it, its record, its costs."""
