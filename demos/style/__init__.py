"""A LoRA that teaches the emoji model to draw as Twemoji does, from 200 of its pictures.

Twemoji: copyright Twitter, Inc. and other contributors, CC BY 4.0, https://github.com/jdecked/twemoji. No picture of it is
in this repository; `python -m demos.style` fetches the pinned npm package and makes everything from it.
"""

CREDIT = (
    "Twemoji, copyright Twitter, Inc. and other contributors, CC BY 4.0, https://github.com/jdecked/twemoji"
)
