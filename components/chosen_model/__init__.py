"""The model for use as a clinician needs it: what it finds, misses and leaves unanswered, and for whom."""
