"""The recipes, one TOML file a table."""
