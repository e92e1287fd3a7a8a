"""Data sets as tensors: labelled images, the canvases they are placed on, and pictures from files."""
