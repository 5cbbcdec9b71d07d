"""For training without labels: batches of images, random changes of them, and the sign of an unfinished training."""
