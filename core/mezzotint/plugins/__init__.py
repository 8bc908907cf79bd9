"""Plugins: found, guarded, registered; what they provide; the settings that switch them on and off."""
