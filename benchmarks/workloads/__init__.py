"""One module for each kind of workload; what each letter stands for is in README.md."""
