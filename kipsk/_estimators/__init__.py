"""Estimators in scikit-learn's manner that need no descent, and what all distillers share."""
