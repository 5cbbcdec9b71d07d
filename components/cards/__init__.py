"""Model card and data sheet, filled from a run's own files."""
