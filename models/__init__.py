"""Training and evaluation of the ranker; run from the repository, not installed."""
