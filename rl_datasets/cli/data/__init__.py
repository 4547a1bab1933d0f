"""Commands on data: collected, published, looked at, handed on."""
