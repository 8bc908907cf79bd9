"""Where hooks enter the U-Net."""
