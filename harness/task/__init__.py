"""What the networks of a study do: their loss, how good they are, what their head gives. Classification, so far."""
