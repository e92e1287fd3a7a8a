"""Captioning: an image in, a sentence out (one-to-many, slide 17)."""
