"""What ships with the core: the basic distillers, recipes and networks, registered like anybody's."""
