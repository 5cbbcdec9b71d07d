"""The SYNTHETIC data set: images like dermoscopy, drawn with known confounders."""
