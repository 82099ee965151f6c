"""The host of the repository: changes that people review before they are merged."""
