"""The time of a step: Top-K selection, and the speedup with its overhead (A.4)."""
