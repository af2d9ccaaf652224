"""What comes over the wire, and how far it has come: pure, without network, loop or clock."""
