"""Exporting: a published version in the formats that other code reads."""
