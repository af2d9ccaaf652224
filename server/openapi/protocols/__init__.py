"""The operations of other clients' protocols, a module each: what they say in bodies is described in those."""
