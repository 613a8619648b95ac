/* An echo client of many addresses: each request comes from the next one of 127.0.0.0/8 (all of it is the loopback's).

       sources PORT SECONDS WARM_UP COUNT

   128 requests of 64 bytes in flight, in batches.  It prints what load.c prints, as JSON, for what follows WARM_UP. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, FLYING = 128, SIZE = 64 };

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    if (argc != 5) return fprintf(stderr, "usage: sources PORT SECONDS WARM_UP COUNT\n"), 2;
    double seconds = atof(argv[2]), warm_up = atof(argv[3]);
    unsigned count = (unsigned)atoi(argv[4]), next = 0;
    int fd = socket(AF_INET, SOCK_DGRAM, 0), room = 1 << 22;
    struct sockaddr_in own = {.sin_family = AF_INET}, to = own;
    to.sin_port = htons((unsigned short)atoi(argv[1]));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) != 0) return perror("sources"), 1;
    static unsigned char payload[SIZE], answers[BATCH][SIZE];
    static struct { struct cmsghdr head; struct in_pktinfo info; } controls[BATCH];
    struct iovec out = {payload, SIZE}, in[BATCH];
    struct mmsghdr sending[BATCH] = {0}, receiving[BATCH] = {0};
    for (int i = 0; i < BATCH; i++) {
        controls[i].head = (struct cmsghdr){CMSG_LEN(sizeof(struct in_pktinfo)), IPPROTO_IP, IP_PKTINFO};
        sending[i].msg_hdr = (struct msghdr){&to, sizeof to, &out, 1, &controls[i], sizeof controls[i], 0};
        in[i] = (struct iovec){answers[i], SIZE};
        receiving[i].msg_hdr = (struct msghdr){.msg_iov = &in[i], .msg_iovlen = 1};
    }
    long sent = 0, answered = 0, lost = 0, wrong = 0, flying = 0;
    double began = now(), counts_from = began + warm_up, ends = counts_from + seconds, at;
    int counting = 0;
    while ((at = now()) < ends) {
        if (!counting && at >= counts_from) counting = 1, sent = answered = lost = 0;
        while (flying < FLYING) {
            int batch = FLYING - flying < BATCH ? (int)(FLYING - flying) : BATCH;
            for (int i = 0; i < batch; i++) /* 127.1.0.0 and up */
                controls[i].info.ipi_spec_dst.s_addr = htonl(0x7F010000u + next++ % count);
            int went = sendmmsg(fd, sending, (unsigned)batch, 0);
            if (went <= 0) return perror("sendmmsg"), 1;
            flying += went, sent += went;
        }
        struct pollfd waiting = {fd, POLLIN, 0};
        if (poll(&waiting, 1, 200) == 0) { /* nothing for so long: what is in flight is lost */
            lost += flying, flying = 0;
            continue;
        }
        int got = recvmmsg(fd, receiving, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < got; i++) wrong += receiving[i].msg_len != SIZE;
        if (got > 0) flying -= got, answered += got;
    }
    printf("{\"seconds\": %f, \"sent\": %ld, \"answers\": %ld, \"lost\": %ld, \"wrong\": %ld}\n", seconds, sent, answered,
           lost, wrong);
    return 0;
}
