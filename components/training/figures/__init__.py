"""Figures of training, one a file, each with a function draw()."""
