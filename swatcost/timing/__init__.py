"""How long a step takes: Top-K, how it selects, and what it leaves of the speedup (A.4)."""
