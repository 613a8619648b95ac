"""DNS messages: queries from bytes, replies to bytes.  Nothing here knows zones, peers or time."""
