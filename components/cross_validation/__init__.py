"""A whole cross-validation: the folds of a study pooled, every lesion tested once."""
