"""Search spaces, predictors and strategies: which network to try next, without training any."""

from nas_baseline.offline import SearchResult, search

__all__ = ["SearchResult", "search"]
