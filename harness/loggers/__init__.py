"""Trackers in which a running study can be followed, a file each: TensorBoard, Weights & Biases, MLflow, trackio."""
