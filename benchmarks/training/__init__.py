"""Training: runs a recipe and writes lines of results."""
