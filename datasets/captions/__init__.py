"""Captioned images: drawn scenes, and files of captions in the usual formats."""
