"""`Moments`: what all rows are to a kernel of finite features, as a public object."""

from kipsk._kip._moments._estimator import Moments

__all__ = ["Moments"]
