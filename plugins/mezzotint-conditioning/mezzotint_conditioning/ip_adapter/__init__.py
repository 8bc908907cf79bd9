"""IP-Adapter (Ye et al. 2023): an image as a prompt, through cross-attention of its own."""
