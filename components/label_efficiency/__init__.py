"""Learning curves over the number of labelled lesions, and where they cross."""
