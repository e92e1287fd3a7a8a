"""Evolution."""
class Evolution:
    def __init__(self, trained, run):
        pass
    def __call__(self, step): pass
