/* The echo servers that set the mark: as little as C can do and still answer from the address that was asked.

       loops batch|single PORT

   Both on one dual-stack socket with IPV6_PKTINFO, as ours: "batch" with recvmmsg and sendmmsg, "single" with recvmsg and
   sendmsg. Each says {"event": "ready"} on stderr and serves until it is ended. They refuse nothing and nobody: no
   policy, no counters. */

#define _GNU_SOURCE
#include <netinet/in.h>
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
    if (argc != 3 || (strcmp(argv[1], "batch") != 0 && strcmp(argv[1], "single") != 0)) {
        fprintf(stderr, "usage: loops batch|single PORT\n");
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
    single(fd);
}
