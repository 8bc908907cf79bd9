"""From what a person names, a folder or a TOML file, to pictures with captions and sizes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from ..errors import DataError
from .folder import words_of
from .images import check_decodes, probe
from .item import Item
from .metadata import columns_without_caption
from .policies import BadImage, MissingCaption

logger = logging.getLogger("mezzotint")


def with_captions(
    items: Iterable[Item],
    missing: MissingCaption,
    caption: str | None = None,
    prior_caption: str | None = None,
) -> list[Item]:
    """Decide about pictures without a caption.

    Args:
        missing: `stop` (an error), `skip` the picture, train it with the `empty` caption, or take the words of its
            file `name`.
        caption: for every picture of the subject without one; then none of them is missing.
        prior_caption: the same for pictures of the class.

    Raises:
        DataError: captions are missing and the policy is `stop`.
    """
    given = {False: caption, True: prior_caption}
    items = [
        item if item.captions or (text := given[item.is_prior]) is None else replace(item, captions=(text,))
        for item in items
    ]
    without = [item for item in items if not item.captions]
    if without and missing == "stop":
        name = "prior_caption" if without[0].is_prior else "caption"
        columns = columns_without_caption(without[0].path)
        more = f" and {len(without) - 1} more pictures have" if len(without) > 1 else " has"
        raise DataError(
            f"{without[0].path}{more} no caption{f' ({columns})' if columns else ''}; write a .txt beside each, give one for "
            f"all with {name}=…, or choose missing_captions=name, empty or skip"
        )
    if missing == "skip":
        for item in without:
            logger.warning("%s has no caption and is skipped", item.path)
        return [item for item in items if item.captions]
    made = {"empty": lambda item: "", "name": lambda item: words_of(item.path)}.get(missing)
    return [
        item if item.captions or made is None else replace(item, captions=(made(item),)) for item in items
    ]


def with_sizes(items: Sequence[Item], bad: BadImage, *, decode: bool, threads: int = 4) -> list[Item]:
    """The items with the sizes of their files.

    Args:
        bad: whether a file that cannot be read stops everything, or is named in a warning and skipped.
        decode: decode each file, which finds those that are cut off; else only its header is read.

    Raises:
        DataError: a file cannot be read and `bad` is `stop`, or none is left.
    """

    def look(item: Item) -> Item | DataError:
        try:
            if decode:
                check_decodes(item)
            return probe(item)
        except DataError as error:
            return error

    good = []
    with ThreadPoolExecutor(threads) as pool:
        for found in pool.map(look, items):
            if isinstance(found, Item):
                good.append(found)
            elif bad == "stop":
                raise DataError(f"{found}; repair or remove it, or choose bad_images=skip")
            else:
                logger.warning("%s; it is skipped", found)
    if not good:
        raise DataError(f"none of {len(items)} pictures can be read")
    return good


def hold_out(items: Sequence[Item], share: float, root: Path) -> tuple[list[Item], list[Item]]:
    """Part of the pictures for validation, chosen by their paths and so the same in every run.

    Returns:
        Pictures to train on, at least one, and pictures held out, none where there is only one of the subject.
    """
    from ..chance import stream

    subjects = [item for item in items if not item.is_prior]
    count = min(len(subjects) - 1, max(1, round(share * len(subjects)))) if share else 0
    ranked = sorted(subjects, key=lambda item: stream("hold out", _name(item.path, root)).random())
    held = set(map(id, ranked[:count]))
    return [item for item in items if id(item) not in held], [item for item in items if id(item) in held]


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
