"""Many-to-one (slide 17): a sentence in, its sentiment out."""
