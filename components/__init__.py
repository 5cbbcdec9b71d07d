"""The work of the pipeline, in rooms. No path is fixed here, and no orchestrator is imported."""
