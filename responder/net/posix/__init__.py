"""What POSIX platforms share: what a refusal of a send means, the flags of interfaces, and becoming another user."""
