"""A version -> a card on a terminal, and a page of a site."""
