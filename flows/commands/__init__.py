"""The commands of `dermflow`: one file each, and `cli`, which reads the command line."""
