"""The graph of dvc.yaml, the processes of its stages, deadlines and schedules."""
