"""Datasets in object stores: five methods of a store, what is asked for together, and what is kept of the answers."""
