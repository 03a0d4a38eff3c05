"""Decisions become messages for screens, receipts, staff and those who asked."""
