"""Score tables: lines of results -> reported beside measured."""
