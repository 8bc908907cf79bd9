"""LoRAs that are made from scratch by one command each."""
