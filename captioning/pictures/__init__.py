"""Captions as they are seen: under pictures with heat-maps, on a page, as texts beside them."""
