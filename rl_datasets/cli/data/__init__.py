"""Commands that collect, publish, show, export and serve data."""
