"""What extensions have done to a pipeline's models, in what order, and how it is undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from ..errors import PlanError
from ..planning.calls import Calls, noting
from ..planning.plan import Entry, Plan
from ..plugins.extension import Extension

if TYPE_CHECKING:
    from .pipeline import Pipeline


class Attachment:
    """The contexts of `patch_text_encoder` and `patch_unet` that are entered in one pipeline's models.

    Each `using` and each run has an `ExitStack`; patches are entered in plan order and left in reverse.
    """

    def __init__(self, pipe: Pipeline) -> None:
        self._pipe = pipe
        self._stacks: list[ExitStack] = []
        self._patched: dict[tuple[str, str], tuple[Extension, ...]] = {}
        self.in_use: tuple[Extension, ...] = ()
        """Extensions of the `using` blocks that are open, in order."""

    @contextmanager
    def using(self, extensions: tuple[Extension, ...], plan: Plan) -> Iterator[None]:
        """Keep extensions attached; `plan` is of all in use and these.

        Raises:
            PlanError: it was left before one that was entered later; both are undone.
        """
        with ExitStack() as stack:
            self.patch(Calls(plan), stack)
            self.in_use = (*self.in_use, *extensions)
            self._stacks.append(stack)
            try:
                yield
            finally:
                self._detach(stack)

    def patch(self, calls: Calls, stack: ExitStack) -> None:
        """Enter the patches of a plan that are not entered yet; closing `stack` leaves them.

        Raises:
            PlanError: one belongs below a patch that is entered already.
        """
        stack.callback(self._restore, self.in_use, dict(self._patched))
        texts = [("patch_text_encoder", name, text.model) for name, text in self._pipe.text_encoders.items()]
        for point, name, model in (*texts, ("patch_unet", "unet", self._pipe.unet)):
            patches = calls.patches(point, name, model, self._pipe)
            done = self._patched.get((point, name), ())
            order = tuple(entry.use.extension for entry, _ in patches)
            if any(first is not second for first, second in zip(done, order, strict=False)):
                late = next(entry for entry, _ in patches if all(entry.use.extension is not d for d in done))
                raise PlanError(
                    f"{late.label} patches the model before an extension that is already attached; "
                    "name it in the same using(…)"
                )
            for entry, make in patches[len(done) :]:
                stack.enter_context(_Noted(entry, make))
            self._patched[point, name] = order

    def _detach(self, stack: ExitStack) -> None:
        """Leave a `using`. Those entered later go first, whatever the order in which they are left."""
        if stack not in self._stacks:
            return
        inner = self._stacks[self._stacks.index(stack) + 1 :]
        while self._stacks[-1] is not stack:
            self._stacks.pop().close()
        self._stacks.pop()
        if inner:
            stack.close()
            raise PlanError(
                "using(…) was left before one that was entered later; both are undone. Nest them: with a, b: …"
            )

    def _restore(
        self, in_use: tuple[Extension, ...], patched: dict[tuple[str, str], tuple[Extension, ...]]
    ) -> None:
        self.in_use, self._patched = in_use, patched


class _Noted(AbstractContextManager[None]):
    """An extension's context: errors on entering and leaving say whose it is, and it cannot swallow any."""

    def __init__(self, entry: Entry, make: Callable[[], AbstractContextManager[Any] | None]) -> None:
        self._entry = entry
        self._context = make()

    def __enter__(self) -> None:
        if self._context is not None:
            with torch.no_grad(), noting(self._entry, when=", on entering"):
                self._context.__enter__()

    def __exit__(self, *exception: Any) -> None:
        if self._context is not None:
            with torch.no_grad(), noting(self._entry, when=", on leaving"):
                self._context.__exit__(*exception)
