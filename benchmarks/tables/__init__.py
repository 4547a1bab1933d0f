"""Score tables: compares lines of results with reported scores."""
