"""What the embedded model is taught, and how."""
