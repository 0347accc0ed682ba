"""Many processes: a pool of workers, ranks of one run, jobs of a scheduler."""
