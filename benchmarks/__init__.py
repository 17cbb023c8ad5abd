"""Speed, and the counts of others, side by side; see the Makefile."""
