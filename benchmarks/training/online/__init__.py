"""Agents that learn in a live environment, for data that no one published."""
