"""Sources of lines and rows of text, as they are or as samples."""
