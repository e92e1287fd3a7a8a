"""The passes of `core.engines.choose.bptt` in C, compiled at first use."""
