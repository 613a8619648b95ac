"""Answers: from a query and the zones to a reply.

lookup        what the answer to a question is (RFC 1034 section 4.3.2), and nothing about messages
processor     answers any query: EDNS, cookies, signatures, errors, truncation, around what `lookup` finds
compiled      answers most queries by a lookup and a copy; the processor answers the others
shapes        what compiled answers are put together from
padding       lengths of answers that nobody is to learn from
host_names    names that mean this host (the option `here`)
cookies, rate_limit    who is trusted, and how much the others get
"""
