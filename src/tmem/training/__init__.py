"""Training of theta_0: pretraining of the embedded models."""
