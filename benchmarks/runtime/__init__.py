"""The inference server, measured beside a bare session and beside other servers."""
