"""Used by every room: errors, log protocol, strict settings and their types, atomic file writes, run ids, JSON data."""
