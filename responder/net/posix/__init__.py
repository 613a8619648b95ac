"""What POSIX platforms share: what a refusal of a send means, and becoming another user."""
