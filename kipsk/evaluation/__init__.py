"""Comparisons of reduced training sets by what many models learn from each of them.

`compare` reduces, trains and scores, in several processes, and in runs that can be continued;
`summary` returns the means and ranks.
"""

from kipsk.evaluation._compare import compare
from kipsk.evaluation._summary import summary

__all__ = ["compare", "summary"]
