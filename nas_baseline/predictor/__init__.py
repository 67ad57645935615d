"""What a network is worth before it is trained: Gaussian process and MLP ensemble."""
