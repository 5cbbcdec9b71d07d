"""The verbs, in time order: one file a stage of dvc.yaml, and the flow that runs them."""
