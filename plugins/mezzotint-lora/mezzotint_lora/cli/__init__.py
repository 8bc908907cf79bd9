"""The commands `mezzotint lora …`, each imported when it is called."""
