"""What was measured beside the verdict: pruning methods, predictors, layers, deliveries, phases."""
