"""Metrics, bootstrap intervals, significance tests, power and the decision rule."""
