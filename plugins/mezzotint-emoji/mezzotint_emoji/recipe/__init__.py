"""How the emoji model was made, from the source packages to the shipped folder: `python -m mezzotint_emoji.recipe --help`.

The stages in order are `data`, `train decoder`, `train unet`, `sheet` and `export`; `start` goes on from a finished model,
`train scorer` makes what the benchmarks measure with, and `couples` writes the package's prompts of two things.
"""
