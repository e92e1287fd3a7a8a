"""Captions by beam search, with constraints on the words."""
