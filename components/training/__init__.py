"""How a network learns: the loop, resume states, batches, losses, optimizers, the two fine-tuning protocols."""
