"""MLflow's registry of models: a bundle as a registered version, and the bundle of a version."""
