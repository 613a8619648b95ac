"""Socket constants that Python's `socket` lacks, in one place, each with when it may go.

Numbers are the kernel's own (include/uapi).  Those of SOL_SOCKET are the ones of asm-generic, which every architecture
that Python is built for on Linux uses, except SPARC and PA-RISC: there an option is refused with ENOPROTOOPT.

What `socket` has on every supported Python is not here.
"""

from __future__ import annotations

from typing import Final

# Linux, level IPPROTO_IP (linux/in.h).
IP_PKTINFO: Final = 8  # until Python 3.12 is the oldest supported
IP_PKTOPTIONS: Final = 9  # not in Python as of 3.14
IP_MTU_DISCOVER: Final = 10  # not in Python as of 3.14
IP_RECVERR: Final = 11  # until Python 3.14 is the oldest supported
IP_RECVTTL: Final = 12  # until Python 3.14 is the oldest supported
IP_MULTICAST_ALL: Final = 49  # not in Python as of 3.14
IP_PMTUDISC_OMIT: Final = 5  # not in Python as of 3.14

# Linux, level IPPROTO_IPV6 (linux/in6.h, linux/ipv6.h); none of them in Python as of 3.14, but where said.
IPV6_2292PKTOPTIONS: Final = 6  # netinet/in.h gives it no name; the kernel's IPV6_PKTOPTIONS of RFC 2292
IPV6_MTU_DISCOVER: Final = 23
IPV6_RECVERR: Final = 25  # until Python 3.14 is the oldest supported
IPV6_MULTICAST_ALL: Final = 29
IPV6_PMTUDISC_OMIT: Final = 5

# Linux, both levels (linux/in.h), RFC 3678; not in Python as of 3.14.
MCAST_JOIN_SOURCE_GROUP: Final = 46
MCAST_LEAVE_SOURCE_GROUP: Final = 47

# Linux, level IPPROTO_UDP (linux/udp.h); not in Python as of 3.14.
UDP_SEGMENT: Final = 103

# Linux, level SOL_SOCKET (asm-generic/socket.h); not in Python as of 3.14.
SO_SNDBUFFORCE: Final = 32
SO_RCVBUFFORCE: Final = 33
SO_TIMESTAMPNS: Final = 35  # the "old" one, a C timespec; also the control message's type
SO_RXQ_OVFL: Final = 40  # also the control message's type
