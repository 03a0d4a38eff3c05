"""One best action for a moment, or honest silence: candidates, gates, arbitration, trace."""
