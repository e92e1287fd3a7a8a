"""Visual concepts and likely words of a picture, detected before a caption is generated."""
