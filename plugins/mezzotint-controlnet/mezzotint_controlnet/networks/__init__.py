"""Side networks from folders, single files and plugins: found, checked against the U-Net, loaded once."""

from .loading import load_network, open_network

__all__ = ["load_network", "open_network"]
