"""What devices did while they were held; the only package that imports pynvml."""
