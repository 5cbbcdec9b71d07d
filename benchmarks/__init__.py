"""Measurements of every claim about speed: ratios of interleaved runs, on one thread, in CPU time."""
