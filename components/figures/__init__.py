"""One figure a file: each has a `draw(...)` that takes data and returns a matplotlib Figure."""
