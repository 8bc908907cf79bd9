"""What hook points are made of: the markers, and the values that hooks receive and return."""
