"""The state of a run in one file, with the facts that tell which run it belongs to."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from itertools import zip_longest
from types import MappingProxyType

import numpy as np

from kipsk._storage._files import DAMAGED, read_arrays, read_json, write_atomically
from kipsk._types import AnyArray
from kipsk._warn import warn

_FORMAT = "kipsk checkpoint 1"

# How many characters of a parameter a message shows.
_SHOWN = 120


class Checkpoint:
    """The file of one run.

    Parameters
    ----------
    path : str or path-like
    facts : dict of str to str
        Descriptions of everything that the run depends on: parameters, data, versions. A file with
        other facts is refused.
    may_differ : collection of str, default=()
        Facts that may have been others.
    advice : dict of str to str, default={}
        By fact, what else to do if it is the only one that was another.

    Attributes
    ----------
    always : dict of str to ndarray
        Arrays that every save writes, beside those it is given.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        facts: dict[str, str],
        may_differ: Collection[str] = (),
        advice: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.path = os.fspath(path)
        self.facts = facts
        self.may_differ = may_differ
        self.advice = advice
        self.always: dict[str, AnyArray] = {}
        self._warned = False

    def load(self) -> dict[str, AnyArray] | None:
        """Return the arrays that were saved, or None if there is no file.

        Raises
        ------
        ValueError
            If the file is damaged, is no checkpoint, or belongs to a run with other facts.
        """
        if not os.path.exists(self.path):
            return None
        try:
            stored, arrays = self._read()
        except DAMAGED as error:
            raise self.unreadable(error) from error
        others = [
            name
            for name in sorted(self.facts.keys() | stored.keys())
            if stored.get(name) != self.facts.get(name) and name not in self.may_differ
        ]
        if others:
            differences = [
                _difference(name, stored.get(name, "not there"), self.facts.get(name, "not there"))
                for name in others
            ]
            also = self.advice.get(others[0], "") if len(others) == 1 else ""
            raise ValueError(
                f"The checkpoint {self.path!r} belongs to another fit: {'; '.join(differences)}. "
                "Fit with the parameters and data it was made with to resume, delete it to start "
                f"anew, or choose another 'checkpoint_path'.{also and ' ' + also}"
            )
        return arrays

    def expect(self, name: str, now: str, saved: dict[str, AnyArray] | None) -> None:
        """Check a fact that is known only after `load`, and store it with every save.

        Parameters
        ----------
        name : str
            The name of the fact.
        now : str
            Its value in this run.
        saved : dict of str to ndarray, or None
            The arrays of `load`.

        Raises
        ------
        ValueError
            If the fact had another value when the arrays were saved. That happens, for instance,
            if `preprocess` is random and has no seed.
        """
        self.always[name] = np.array(now)
        if saved is not None and str(saved.get(name)) != now:
            raise ValueError(
                f"The checkpoint {self.path!r} belongs to another fit: {name} is not what it was. "
                "Give what is random in it a random_state, delete the file to start anew, or "
                "choose another 'checkpoint_path'."
            )

    def _read(self) -> tuple[dict[str, str], dict[str, AnyArray]]:
        arrays = read_arrays(self.path)
        stored = read_json(arrays.pop("facts"))
        if stored.pop("format") != _FORMAT:
            raise ValueError("of another format")
        if stored.pop("arrays") != sorted(arrays):
            raise ValueError("not whole")
        return {name: str(fact) for name, fact in stored.items()}, arrays

    def unreadable(self, error: Exception) -> ValueError:
        """Return the error for a file whose content cannot be what a run has saved."""
        return ValueError(
            f"The file {self.path!r} is damaged or no checkpoint of this version of kipsk "
            f"({type(error).__name__}: {error}). Delete it to start anew, or choose another "
            "'checkpoint_path'."
        )

    def save(self, arrays: dict[str, AnyArray]) -> None:
        """Write the arrays. If the disk is full or read-only there is a warning and no error."""
        arrays = {**self.always, **arrays}
        facts = json.dumps({"format": _FORMAT, "arrays": sorted(arrays), **self.facts})
        try:
            write_atomically(self.path, {"facts": np.array(facts), **arrays})
        except OSError as error:
            if not self._warned:
                warn(
                    f"The checkpoint {self.path!r} could not be written ({error}). The fit goes "
                    "on, and tries again at the next interval: make room, or allow writing there."
                )
            self._warned = True


def _difference(name: str, old: str, new: str) -> str:
    """Say how two descriptions differ; of long ones only the part around the first difference."""
    pairs = enumerate(zip_longest(old, new))
    first = next((i for i, (a, b) in pairs if a != b), 0)
    start = max(0, first - _SHOWN // 2) if max(len(old), len(new)) > _SHOWN else 0
    dots = "... " if start else ""
    return f"{name} was {dots}{old[start:][:_SHOWN]} and is {dots}{new[start:][:_SHOWN]}"
