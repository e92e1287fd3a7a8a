"""Training images changed at random: turned, flipped, scaled, coloured, bent."""
