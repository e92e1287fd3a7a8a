"""Frames of files, cameras and streams: decoded, sampled, prepared and encoded."""
