"""Environments of gymnasium for the actors of IMPALA: `python -m impala_gym` is a worker that an actor starts."""

__version__ = "0.1.0"
