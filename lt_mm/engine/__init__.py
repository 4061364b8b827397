"""What runs around the model: hooks and compatibility with the installed stack."""
