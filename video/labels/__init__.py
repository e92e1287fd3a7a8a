"""Labels over time: from frames to probabilities, to labels, to the files that hold them."""
