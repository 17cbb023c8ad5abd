"""The documentation: pages by hand, pages from data, and what builds them."""
