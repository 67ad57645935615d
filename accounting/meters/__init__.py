"""What devices did while they were held; the only room that knows pynvml."""
