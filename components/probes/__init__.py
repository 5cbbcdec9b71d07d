"""Linear probes of encoders: what each stage knows of the classes before fine-tuning."""
