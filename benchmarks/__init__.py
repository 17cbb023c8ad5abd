"""Speed and counts, compared with other counters; see the Makefile."""
