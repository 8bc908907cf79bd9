"""A LoRA of one character from six pictures: a blue fox with a crown, which the base model has never seen.

The character is put together from two drawings of Fluent Emoji Flat (MIT, Microsoft Corporation): the fox in another hue,
and the crown. It is trained twice, with and without prior preservation, to see what becomes of other foxes.
"""

CREDIT = "Fluent Emoji, copyright Microsoft Corporation, MIT, https://github.com/microsoft/fluentui-emoji"
