"""Branch tables of each file format, shared by readers and writers."""
