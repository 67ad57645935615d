"""One network with the weights of a whole space."""
