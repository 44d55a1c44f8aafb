"""Where the conformance suite is once minray is installed: the build puts tests/conformance here."""
