"""What must not change while the plan of the house does, as it was when this was made."""
