"""What MLflow records of a run: metrics, lineage and environment; and how a resumed training finds its run again."""
