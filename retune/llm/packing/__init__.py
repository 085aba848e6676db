"""A batch as one row in which every distinct history stands once: prefix tree, attention, output head."""
