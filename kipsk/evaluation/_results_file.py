"""The rows of a comparison in a CSV file, which grows line by line and survives a kill."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Callable, Iterable, Mapping

from kipsk.evaluation._jobs import Row


def _whole_or_none(text: str) -> int | None:
    return int(text) if text else None


#: The columns of the file, in this order, and the function that reads the text of each.
COLUMNS: dict[str, Callable[[str], str | int | float | None]] = {
    "reducer": str,
    "model": str,
    "ipc": _whole_or_none,
    "seed": int,
    "split": int,
    "n_rows": _whole_or_none,
    "labels": str,
    "accuracy": float,
    "reduce_seconds": float,
    "fit_seconds": float,
    "error": str,
    "fingerprint": str,
}


def _line(fields: Iterable[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue().encode()


_HEADER = _line(COLUMNS)


class ResultsFile:
    """The file of one comparison.

    Each row is one line, which is given to the system in one piece. If the process dies in the
    middle of it, the last line is torn, and `read` drops that line. A line of the file is one row,
    so no field may have a line break in it.

    Parameters
    ----------
    path : str or path-like
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def read(self) -> list[Row]:
        """Return the rows of the file, and make it ready for rows to be appended.

        A file that is missing is made, and a torn last line is cut off.

        Raises
        ------
        ValueError
            If the file holds something else than results. It is left unchanged.
        OSError
            If the file cannot be written.
        """
        content = b""
        if os.path.exists(self.path):
            with open(self.path, "rb") as file:
                content = file.read()
        if not content.startswith(_HEADER):
            if not _HEADER.startswith(content):
                raise self._refused("its first line is not the header of such a file")
            with open(self.path, "wb") as file:
                file.write(_HEADER)
            return []
        whole = content[: content.rfind(b"\n") + 1]
        rows = self._parsed(whole)
        with open(self.path, "r+b") as file:
            file.truncate(len(whole))
        return rows

    def append(self, row: Mapping[str, object]) -> None:
        """Write a row to the file at once.

        Raises
        ------
        OSError
            If the disk is full. What there was room for is taken back, so that a line that comes
            when there is room again does not go on from a torn one.
        """
        line = _line(row[name] for name in COLUMNS)
        with open(self.path, "ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                if file.write(line) != len(line):  # the system writes as much as there is room for
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
            except BaseException:
                file.truncate(before)
                raise

    def _parsed(self, content: bytes) -> list[Row]:
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
