"""Labelled videos: drawn sprites, and files of labels in the usual formats."""
