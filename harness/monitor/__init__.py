"""A live view of training in the terminal, read from run folders alone: training does not depend on it."""
