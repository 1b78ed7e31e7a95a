"""Storage benchmarks: splitdata and its peers on the same data, in one run; see README.md beside this."""
