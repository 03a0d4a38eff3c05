"""Bytes become events, or a dead letter with its reason. No input makes this stage raise."""
