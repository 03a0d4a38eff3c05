"""Adapters to the outside, one file per outside thing; no business rule lives here."""
