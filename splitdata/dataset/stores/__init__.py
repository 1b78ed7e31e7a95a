"""Datasets brought into stores, and out of them: segments are sent, and a manifest is made that lists them."""
