"""The command line, `mezzotint`. Each command is a file; nothing heavy is imported until it runs."""
