"""Logged reinforcement-learning experience as versioned datasets that can be trusted."""

__version__ = "0.1.0"
