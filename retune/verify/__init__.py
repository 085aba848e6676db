"""Whether a build can be had again to the byte, and where a model came from: `retune verify`, `retune provenance`."""
