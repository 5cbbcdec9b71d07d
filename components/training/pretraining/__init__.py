"""What pretraining methods share that train by gradients: settings, batches, random changes, signs of an early end."""
