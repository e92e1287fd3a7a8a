"""Labelled images: digits, class folders, boards, canvases; and how picture files are read."""
