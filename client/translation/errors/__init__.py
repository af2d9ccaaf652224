"""What upstream says when it refuses or fails, to one `Failure`: found (`shapes`), understood (`words`, `waits`) and
told (`failures`). Uses no other room of the translation."""
