"""Pictures and captions: read, placed in buckets, brought into an order."""
