"""Fine-tuning on a person's own series, guarded: what does not help is not kept."""
