"""Scanpaths and curves, computed and drawn."""
