"""Who is behind an identifier: pseudonyms, links between them, and what each person allows."""
