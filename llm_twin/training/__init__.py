"""Training: a LoRA on a base model, and the files it becomes. torch is imported inside functions only."""
