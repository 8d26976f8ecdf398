"""post-results: records what happened to every social post on every platform."""

__version__ = "0.1.0"
