"""A convolutional net that reads the whole image, and what it can tell one that searches."""
