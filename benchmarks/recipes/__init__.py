"""The recipes, one TOML file a table, and the learners that are of a project's examples alone."""
