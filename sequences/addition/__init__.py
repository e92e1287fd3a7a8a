"""Binary addition by three units, and the automaton inside (slides 11-15)."""

from sequences.addition.train import main

__all__ = ["main"]
