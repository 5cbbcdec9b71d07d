"""How a network learns: the loop, resume states, batches, losses, optimizers, the fine-tuning protocols."""
