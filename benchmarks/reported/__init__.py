"""What was reported, one TOML file a table, with the curves beside it where there are any."""
