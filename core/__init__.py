"""Recurrent networks over time, and what trains them; knows nothing of images, words or files of
users.
"""
