"""Opening a model: folders, weights that are looked at first, device and dtype."""
