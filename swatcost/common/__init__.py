"""What knows no network: errors, files, names to choose by, amounts, colours."""
