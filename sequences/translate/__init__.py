"""Many-to-many of unequal length (slides 16-18): a sentence in, its translation out."""
