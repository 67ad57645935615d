"""Where a running study is followed from outside, each a file: TensorBoard, Weights & Biases, MLflow, trackio."""
