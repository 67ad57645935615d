"""What was measured in addition to the verdict: pruning methods, predictors, layers, deliveries, phases."""
