"""hello-python: a greeting, and the commit it was built from."""
