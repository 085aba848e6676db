"""What one file alone cannot show: names that must exist elsewhere, settings that cannot work together."""
