"""Networks that leave the study: weights, card, ONNX, int8."""
