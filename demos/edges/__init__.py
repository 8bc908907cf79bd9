"""A ControlNet that the emoji model's drawings teach to follow an outline."""
