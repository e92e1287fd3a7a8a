"""What a trained model is measured by: error, glimpses on target, symbols read, stopping."""
