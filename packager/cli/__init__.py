"""The command line: thin Click commands, one file per family, one place for errors."""
