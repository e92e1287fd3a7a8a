"""Video: a label for every frame, in files and in live streams (synced many-to-many, slide 17)."""
