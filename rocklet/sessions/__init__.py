"""Sessions: live conversations, each in one action protocol.  `bash` is the one there is."""
