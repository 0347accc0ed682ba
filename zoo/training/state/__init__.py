"""The state of a training run: on disk, in memory, and the way back."""
