"""Figures of training: one figure a file, each with a function draw()."""
