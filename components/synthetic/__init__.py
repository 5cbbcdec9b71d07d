"""The embedded data set: dermoscopy-like drawings with known confounders."""
