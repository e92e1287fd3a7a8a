"""Timelines, overlays and the page for reviewing: labels as they are seen."""
