"""The recipes, one TOML file a table, and the learners that are Tianshou's alone."""
