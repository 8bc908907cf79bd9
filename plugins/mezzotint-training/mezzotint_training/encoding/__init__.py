"""Pictures to latents and captions to embeddings, once where they do not change."""
