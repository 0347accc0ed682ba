"""The studies behind the figures in `docs/results.md`: which runs they compare, and how they are shown."""
