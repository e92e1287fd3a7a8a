"""Binary addition by three units, and the automaton inside (slides 11-15)."""
