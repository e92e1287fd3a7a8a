"""How near labels come to the truth."""
