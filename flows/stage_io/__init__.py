"""What several stages share: files read and written, runs read back, classifiers applied to images."""
