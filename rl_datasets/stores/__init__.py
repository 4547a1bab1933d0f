"""Where files are kept that are created once and never changed: folders, and buckets of stores."""
