"""Extensions that keep something with the pipeline from one run to the next."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from mezzotint import Extension, hookimpl

if TYPE_CHECKING:
    from mezzotint import Pipeline, Run


class KeepsBetweenRuns(Extension):
    """Base: what is kept is looked at anew when a run begins, whatever happened since or in one that was interrupted."""

    @hookimpl
    def timesteps(self, run: Run) -> None:
        """Nothing about the interval: once a run, before the first step, when every other extension is in place."""
        self.begin_run(run.pipe)

    @abstractmethod
    def begin_run(self, pipe: Pipeline) -> None:
        """Look at what is kept; called by `timesteps`, or by an extension that has this one as a part."""
