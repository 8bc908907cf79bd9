"""Textual inversion (Gal et al. 2022): words that a few vectors stand for."""
