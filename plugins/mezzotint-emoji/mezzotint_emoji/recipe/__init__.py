"""How the emoji model was made, from the source packages to the shipped folder.

Run the stages in order with `python -m mezzotint_emoji.recipe data|train|sheet|export|evaluate`.
"""
