"""The prompt syntax of AUTOMATIC1111's web UI: weights, editing, alternation, BREAK, chunks."""
