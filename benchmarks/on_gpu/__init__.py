"""What a GPU makes of our programs, measured where there is JAX and no TensorFlow."""
