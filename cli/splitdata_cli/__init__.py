"""The command line of splitdata: each command parses, calls one public function, shows the result."""
