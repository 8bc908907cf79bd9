"""What the U-Net is told at each step, seen from outside."""

from __future__ import annotations

import torch
from mezzotint import Extension, hookimpl


class Seen(Extension, name="seen"):
    """Keeps the conditioning of each step by pass."""

    @hookimpl
    def unet_input(self, run):
        def of(name):
            return run.conditioning.embeddings[run.rows(name)]

        steps = run.state(self, list)
        steps.append({pass_.name: of(pass_.name) for pass_ in run.passes})
        run.publish(self, steps=steps)


def told(pipe, prompt, use=(), **options):
    """The embeddings of each step, by pass."""
    options = {"steps": 4, "seed": 1, "negative": ""} | options
    return pipe(prompt, use=[*use, Seen()], **options).outputs["seen"]["steps"]


def plain(pipe, text):
    """Embeddings of one text by the bare encoder, (1, tokens, dim)."""
    tokenizer = pipe.tokenizer
    ids = tokenizer(
        [text],
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    with torch.no_grad():
        return pipe.text_encoder(ids)[0]
