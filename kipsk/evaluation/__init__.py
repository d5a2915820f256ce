"""Reduced training sets compared by what many models learn from each.

`compare` reduces, trains and scores, in several processes and in runs that can be continued;
`summary` has the means and ranks.
"""

from kipsk.evaluation._compare import compare
from kipsk.evaluation._summary import summary

__all__ = ["compare", "summary"]
