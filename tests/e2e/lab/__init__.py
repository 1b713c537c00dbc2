"""The lab: real clients, real and faulty upstreams, and the two daemons under test, all on one machine."""
