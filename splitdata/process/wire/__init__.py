"""What a consumer and its worker say to each other, and how it travels."""
