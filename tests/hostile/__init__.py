"""Whatever upstream says, in whatever place: one end, honest figures, nothing leaked."""
