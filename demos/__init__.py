"""Adapters that are made from scratch by one command each, looked at and measured.

    python -m demos.style --to DIR      a LoRA of a drawing style, from 200 pictures
    python -m demos.subject --to DIR    a LoRA of one character, from six pictures, with prior preservation
    python -m demos.edges --to DIR      a ControlNet that follows outlines

They read the folder of the emoji model's recipe, after `python -m mezzotint_emoji.recipe data` and `train scorer`: its
drawings have names, and its scorer says what a drawing shows. What is in DIR already is kept.
"""
