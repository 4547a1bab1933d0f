"""Training: a recipe -> lines of results."""
