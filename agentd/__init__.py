"""A daemon that runs AI agents for programs in any language. Importing this has no effects."""

__version__ = "0.1.0"
