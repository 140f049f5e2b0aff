"""Pictures of motion and the report that holds them."""
