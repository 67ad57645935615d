"""What a study's networks do: their loss, their quality and the outputs of their head. So far: classification."""
