"""In-store personalisation at the edge: events in, recommendations out, only summaries to HQ."""

__version__ = "0.1.0"
