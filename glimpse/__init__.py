"""The recurrent attention model: a network that chooses where to look."""
