"""A run's state in one file, written whole or not at all, and what it belongs to."""

from __future__ import annotations

import json
import os
from itertools import zip_longest

import numpy as np

from kipsk._storage._files import DAMAGED, write_atomically
from kipsk._types import AnyArray
from kipsk._warn import warn

_FORMAT = "kipsk checkpoint 1"

# Characters of a parameter that a message shows.
_SHOWN = 120


class Checkpoint:
    """The file of one run.

    Parameters
    ----------
    path : str or path-like
    facts : dict of str to str
        What the run is of. A file with other facts is refused.

    Attributes
    ----------
    always : dict of str to ndarray
        Arrays that every save includes.
    """

    def __init__(self, path: str | os.PathLike[str], facts: dict[str, str]) -> None:
        self.path = os.fspath(path)
        self.facts = facts
        self.always: dict[str, AnyArray] = {}
        self._warned = False

    def load(self) -> dict[str, AnyArray] | None:
        """Return the arrays that were saved, or None if nothing was.

        Raises
        ------
        ValueError
            If the file is damaged, is no checkpoint, or belongs to other data or parameters.
        """
        if not os.path.exists(self.path):
            return None
        try:
            stored, arrays = self._read()
        except DAMAGED as error:
            raise ValueError(
                f"The file {self.path!r} is damaged or no checkpoint of this version of kipsk "
                f"({type(error).__name__}: {error}). Delete it to start anew, or choose another "
                "'checkpoint_path'."
            ) from error
        differences = [
            _difference(name, stored.get(name, "not there"), self.facts.get(name, "not there"))
            for name in sorted(self.facts.keys() | stored.keys())
            if stored.get(name) != self.facts.get(name)
        ]
        if differences:
            raise ValueError(
                f"The checkpoint {self.path!r} belongs to another fit: {'; '.join(differences)}. "
                "Fit with the parameters and data it was made with to resume, delete it to start "
                "anew, or choose another 'checkpoint_path'."
            )
        return arrays

    def expect(self, name: str, now: str, saved: dict[str, AnyArray] | None) -> None:
        """Refuse arrays that were `saved` with another value of a fact that comes late.

        Raises
        ------
        ValueError
            For instance for a random `preprocess` without a seed.
        """
        self.always[name] = np.array(now)
        if saved is not None and str(saved[name]) != now:
            raise ValueError(
                f"The checkpoint {self.path!r} belongs to another fit: {name} is not what it was. "
                "Give what is random in it a random_state, delete the file to start anew, or "
                "choose another 'checkpoint_path'."
            )

    def _read(self) -> tuple[dict[str, str], dict[str, AnyArray]]:
        with open(self.path, "rb") as stream:
            try:
                with np.load(stream, allow_pickle=False) as file:
                    damaged = file.zip.testzip()  # numpy stops at the end it was told of
                    arrays = {name: file[name] for name in file.files}
            except OSError as error:  # it could be opened: a damaged file leads nowhere
                raise ValueError(error) from error
        stored = json.loads(str(arrays.pop("facts")))
        if stored.pop("format") != _FORMAT:
            raise ValueError("of another format")
        if damaged or stored.pop("arrays") != sorted(arrays):
            raise ValueError("not whole")
        return stored, arrays

    def save(self, arrays: dict[str, AnyArray]) -> None:
        """Save the arrays; a disk that is full or read-only gives a warning and no error."""
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
    """Return what two descriptions differ in; of long ones only the part around it."""
    pairs = enumerate(zip_longest(old, new))
    first = next((i for i, (a, b) in pairs if a != b), 0)
    start = max(0, first - _SHOWN // 2) if max(len(old), len(new)) > _SHOWN else 0
    dots = "... " if start else ""
    return f"{name} was {dots}{old[start:][:_SHOWN]} and is {dots}{new[start:][:_SHOWN]}"
