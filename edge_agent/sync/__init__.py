"""What leaves the store: period summaries and consented customers' updates, and nothing else."""
