"""What a published version on disk is, and how one is opened and read."""
