"""Video: temporal action segmentation, a label for every frame, in files and in live streams.

Sequences in and out are synced (slide 18).
"""
