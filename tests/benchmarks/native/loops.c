/* The echo servers that set the mark: as little as C can do and still answer from the address that was asked.

       loops batch|segments|single PORT

   All on one dual-stack socket with IPV6_PKTINFO, as ours: "batch" with recvmmsg and sendmmsg, "segments" also with
   answers to one peer as segments of one datagram (UDP_SEGMENT), "single" with recvmsg and sendmsg. Each says {"event": "ready"} on stderr and serves until it is ended. They refuse nothing and nobody: no
   policy, no counters. */

#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, SIZE = 2048, CONTROL = 64 };

static unsigned char payloads[BATCH][SIZE];
static unsigned char controls[BATCH][CONTROL] __attribute__((aligned(8)));
static struct sockaddr_in6 names[BATCH];
static struct iovec vectors[BATCH];
static struct mmsghdr messages[BATCH];

/* The request's control message is the reply's, less the interface: that would bypass the routing table. */
static void to_reply(struct msghdr *message, unsigned length) {
    message->msg_iov->iov_len = length;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
            ((struct in6_pktinfo *)CMSG_DATA(c))->ipi6_ifindex = 0;
    message->msg_flags = 0;
}

static void to_receive(unsigned i) {
    vectors[i] = (struct iovec){.iov_base = payloads[i], .iov_len = SIZE};
    messages[i].msg_hdr = (struct msghdr){.msg_name = &names[i],
                                          .msg_namelen = sizeof names[i],
                                          .msg_iov = &vectors[i],
                                          .msg_iovlen = 1,
                                          .msg_control = controls[i],
                                          .msg_controllen = CONTROL};
}

static void batch(int fd) {
    for (unsigned i = 0; i < BATCH; i++) to_receive(i);
    for (;;) {
        int n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < n; i++) to_reply(&messages[i].msg_hdr, messages[i].msg_len);
        for (int done = 0; done < n;) {
            int sent = sendmmsg(fd, messages + done, (unsigned)(n - done), 0);
            done += sent > 0 ? sent : 1;
        }
        for (int i = 0; i < n; i++) to_receive((unsigned)i);
    }
}

/* Lay out one message for answer `first` and those behind it that go to its peer and have its size. How many they are. */
static int join(struct mmsghdr *out, struct iovec *places, unsigned char *control, int first, int n) {
    const struct msghdr *one = &messages[first].msg_hdr;
    size_t size = one->msg_iov->iov_len, most = size > 0 && size <= 1472 ? 65000 / size : 1;
    int count = 0;
    for (int i = first; i < n && (size_t)count < most; i++) {
        const struct msghdr *other = &messages[i].msg_hdr;
        if (other->msg_iov->iov_len != size || memcmp(other->msg_name, one->msg_name, sizeof names[0]) != 0 ||
            other->msg_controllen != one->msg_controllen ||
            memcmp(other->msg_control, one->msg_control, one->msg_controllen) != 0)
            continue;
        places[count] = *other->msg_iov;
        struct mmsghdr found = messages[i];
        memmove(&messages[first + count + 1], &messages[first + count], (size_t)(i - first - count) * sizeof found);
        messages[first + count++] = found;
    }
    out->msg_hdr = messages[first].msg_hdr;
    out->msg_hdr.msg_iov = places;
    out->msg_hdr.msg_iovlen = (size_t)count;
    if (count > 1) {
        memcpy(control, out->msg_hdr.msg_control, out->msg_hdr.msg_controllen);
        struct cmsghdr *segment = (struct cmsghdr *)(control + CMSG_ALIGN(out->msg_hdr.msg_controllen));
        *segment = (struct cmsghdr){.cmsg_len = CMSG_LEN(2), .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT};
        memcpy(CMSG_DATA(segment), &(uint16_t){(uint16_t)size}, 2);
        out->msg_hdr.msg_control = control;
        out->msg_hdr.msg_controllen = CMSG_ALIGN(out->msg_hdr.msg_controllen) + CMSG_LEN(2);
    }
    return count;
}

static void segments(int fd) {
    static struct mmsghdr out[BATCH];
    static struct iovec places[BATCH];
    static unsigned char replies[BATCH][2 * CONTROL] __attribute__((aligned(8)));
    for (unsigned i = 0; i < BATCH; i++) to_receive(i);
    for (;;) {
        int n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL), count = 0;
        for (int i = 0; i < n; i++) to_reply(&messages[i].msg_hdr, messages[i].msg_len);
        for (int at = 0; at < n; count++) at += join(&out[count], &places[at], replies[count], at, n);
        for (int done = 0; done < count;) {
            int sent = sendmmsg(fd, out + done, (unsigned)(count - done), 0);
            done += sent > 0 ? sent : 1;
        }
        for (int i = 0; i < n; i++) to_receive((unsigned)i);
    }
}

static void single(int fd) {
    for (;;) {
        to_receive(0);
        ssize_t length = recvmsg(fd, &messages[0].msg_hdr, 0);
        if (length < 0) continue;
        to_reply(&messages[0].msg_hdr, (unsigned)length);
        sendmsg(fd, &messages[0].msg_hdr, 0);
    }
}

int main(int argc, char **argv) {
    if (argc != 3 || (strcmp(argv[1], "batch") != 0 && strcmp(argv[1], "segments") != 0 && strcmp(argv[1], "single") != 0)) {
        fprintf(stderr, "usage: loops batch|segments|single PORT\n");
        return 2;
    }
    int fd = socket(AF_INET6, SOCK_DGRAM, 0), off = 0, on = 1;
    struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(argv[2]))};
    if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0 ||
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) != 0 ||
        bind(fd, (struct sockaddr *)&own, sizeof own) != 0) {
        perror("loops");
        return 1;
    }
    fprintf(stderr, "{\"event\": \"ready\"}\n");
    if (argv[1][0] == 'b') batch(fd);
    if (strcmp(argv[1], "segments") == 0) segments(fd);
    single(fd);
}
