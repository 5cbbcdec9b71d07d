"""Figures of the comparison page: one figure a file, each with a function draw()."""
