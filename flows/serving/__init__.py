"""The model for use behind HTTP: `/predict`, `/health`, `/metrics` on this host."""
