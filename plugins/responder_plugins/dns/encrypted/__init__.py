"""DNS within TLS: over a stream (RFC 7858, transfers RFC 9103) and over HTTPS (RFC 8484).

pem          certificates and keys from files, with their mistakes
certificate  the certificate and its key, read again where the files have changed
alerts       TLS that tells its peer why it fails
client       TLS towards primaries
tls          the handshake, and who serves the connection behind it
https        a DNS message in an HTTP request, and the answer; HTTP/1.1 is `responder_plugins.shared.http`
http2        an HTTP/2 connection, by the library h2

What is answered is the same as by TCP, within the same bounds.
"""
