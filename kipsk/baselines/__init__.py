"""Small sets of real rows or centres: the baselines that distillation must beat."""

from kipsk.baselines._sampler import CoresetSampler

__all__ = ["CoresetSampler"]
