"""`mezzotint schedulers compare`: schedulers side by side on a prompt, against where they all should arrive."""
