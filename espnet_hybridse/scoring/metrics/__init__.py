"""One metric a file, and the registry that names them."""
