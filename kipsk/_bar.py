"""tqdm's bar for a terminal or a notebook, without its warning.

In a notebook without ipywidgets, tqdm draws its bar as text, and warns at its import, also where no
bar is shown at all.
"""

from __future__ import annotations

import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

__all__ = ["tqdm"]
