"""A character language model (slides 7-8, 35-44)."""
