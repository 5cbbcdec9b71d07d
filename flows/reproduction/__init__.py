"""A finished run made again in a fresh clone and compared with the first."""
