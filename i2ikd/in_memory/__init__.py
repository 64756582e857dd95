"""Networks, data sets and methods that Python code passes as objects, for the engine that knows them by name."""
