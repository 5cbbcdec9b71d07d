"""What is claimed as speed: ratios of interleaved runs, on one thread and the CPU's clock."""
