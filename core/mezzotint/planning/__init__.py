"""From extensions to a plan, and from a plan to checked calls."""
