"""Speed, measured: i2ikd's engine against the plain loop and against the machine's limit."""
