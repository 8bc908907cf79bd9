"""Everything needed to make an image again: recipes, image files, replay."""
