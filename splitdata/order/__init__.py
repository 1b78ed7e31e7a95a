"""Order: which record comes when, as pure functions of integers and numpy arrays."""
