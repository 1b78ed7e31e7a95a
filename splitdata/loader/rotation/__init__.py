"""Each sample used several times soon after it was made."""
