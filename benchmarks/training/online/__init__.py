"""Trains agents in a live environment, to make data that no one published."""
