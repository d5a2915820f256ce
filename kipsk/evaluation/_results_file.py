"""Rows of a comparison in a CSV file that grows line by line and survives a kill."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def _whole(text: str) -> int | None:
    return int(text) if text else None


#: What is in the file, in this order, and how its text is read.
COLUMNS: dict[str, Callable[[str], Any]] = {
    "reducer": str,
    "model": str,
    "ipc": _whole,
    "seed": int,
    "split": int,
    "n_rows": _whole,
    "labels": str,
    "accuracy": float,
    "reduce_seconds": float,
    "fit_seconds": float,
    "error": str,
    "fingerprint": str,
}


def _line(fields: Iterable[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue().encode()


_HEADER = _line(COLUMNS)


class ResultsFile:
    """The file of one comparison.

    Each row is one line, given to the system in one piece. If the process dies in the middle, the
    last line is torn, and `read` drops it. No field may have a line break in it, so that a line of
    the file is a row.

    Parameters
    ----------
    path : str or path-like
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def read(self) -> list[dict[str, Any]]:
        """Return the rows that are there, and make the file one that rows can be appended to.

        Raises
        ------
        ValueError
            If the file is something else. It is left as it is.
        OSError
            If it cannot be written.
        """
        content = b""
        if os.path.exists(self.path):
            with open(self.path, "rb") as file:
                content = file.read()
        if not content.startswith(_HEADER):
            if not _HEADER.startswith(content):
                raise self._refused("its first line is another one")
            with open(self.path, "wb") as file:
                file.write(_HEADER)
            return []
        whole = content[: content.rfind(b"\n") + 1]
        rows = self._parsed(whole)
        with open(self.path, "r+b") as file:
            file.truncate(len(whole))
        return rows

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row, at once."""
        with open(self.path, "ab", buffering=0) as file:
            file.write(_line(row[name] for name in COLUMNS))

    def _parsed(self, content: bytes) -> list[dict[str, Any]]:
        rows = []
        for number, line in enumerate(content.split(b"\n")[1:-1], start=2):
            try:
                (fields,) = csv.reader([line.decode()], strict=True)
                pairs = zip(COLUMNS.items(), fields, strict=True)
                rows.append({name: read(text) for (name, read), text in pairs})
            except (ValueError, csv.Error) as error:
                raise self._refused(f"line {number} is damaged ({error})") from error
        return rows

    def _refused(self, why: str) -> ValueError:
        return ValueError(
            f"The file {self.path!r} has no results of a comparison: {why}. Delete it to start "
            "anew, or choose another 'path'."
        )
