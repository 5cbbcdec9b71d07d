"""`dermflow init`: what a data set is, what a study of it needs, and the preset that says so."""
