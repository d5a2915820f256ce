"""Kernel Inducing Points as estimators: parameters down, a run, fitted attributes up."""
