"""Recurrent networks over time and their training; nothing here knows of images or words."""
