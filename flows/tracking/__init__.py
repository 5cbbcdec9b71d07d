"""What MLflow keeps of a run: metrics, lineage, environment, and how a resumed run is found again."""
