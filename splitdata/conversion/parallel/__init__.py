"""The parts of a source, read and changed by several processes, and put into one order."""
