"""Shared ground: errors, the log protocol, strict settings, files written whole, plain JSON data."""
