"""Which registered version is in use: comparison with the champion, the record, and the change of aliases."""
