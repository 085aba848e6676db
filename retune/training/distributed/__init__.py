"""One training over several processes: data parallel, and weights or optimiser states divided among them."""
