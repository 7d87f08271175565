"""Networks of layers with correct third derivatives."""
