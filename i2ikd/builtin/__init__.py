"""Components of the core, registered as a plugin: basic distillers, recipes, networks, exporters, trackers."""
