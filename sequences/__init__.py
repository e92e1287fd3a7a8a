"""Other networks of the lecture: addition, character models, sentiment, translation."""
