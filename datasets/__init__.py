"""Data sets as tensors: images and canvases, captions, videos, texts; built-in and from files."""
