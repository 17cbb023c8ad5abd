"""What does not depend on networks: errors, files, registries, units, colours."""
