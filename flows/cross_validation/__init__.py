"""`dermflow crossvalidate`: the study once for each fold, in a clone each, and the folds pooled."""
