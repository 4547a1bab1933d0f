"""The version of this package, in a module that stands on nothing."""

__version__ = "0.1.0"
