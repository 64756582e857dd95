"""Basic distillers: target, imitation, attention."""
