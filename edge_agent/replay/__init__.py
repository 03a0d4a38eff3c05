"""A real day of sales, replayed as everything a supermarket's sensors and tills would report.

Real are the receipts: products, quantities, amounts, discounts, instants, households, and what
those bought before. All else is simulated from them with a seed, and each module says what.
"""
