"""Data validation: every image is decoded once, each row is accepted or quarantined with its reason."""
