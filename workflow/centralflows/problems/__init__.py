"""Training problems: datasets, networks and loss criteria, and the objective that combines them."""
