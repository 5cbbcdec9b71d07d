"""`dermflow reproduce`: repeat a finished run in a fresh clone and compare all its outputs."""
