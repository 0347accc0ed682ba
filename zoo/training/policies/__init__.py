"""The parts of a training run that act at the moments of a step."""
