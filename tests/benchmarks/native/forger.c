/* Sends one datagram again and again, each time from another source, which is not ours (IPv4).

       forger DESTINATION PORT RATE SECONDS PAYLOAD

   PAYLOAD is hexadecimal. RATE datagrams a second leave, in bursts of a millisecond's; what a full queue of this machine
   refuses is not sent again. The sources are all of 11.0.0.0/8 in an order that repeats none, so that one after the other
   is of another network. Prints what was sent, as JSON. Needs root (a raw socket). */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 64, MOST_SIZE = 1472 };
static const uint64_t SECOND = 1000000000, TICK = 1000000;

/* Odd, so that each number below 2**24 comes up once. */
static const uint32_t STEP = 0x9E3779B1, NETWORK = 0x0B000000, HOSTS = 0x00FFFFFF;

struct packet {
    struct iphdr ip; /* the kernel fills in length, identification and checksum (raw(7)) */
    struct udphdr udp;
    unsigned char payload[MOST_SIZE];
};

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc != 6) return fprintf(stderr, "usage: forger DESTINATION PORT RATE SECONDS PAYLOAD\n"), 2;
    static struct packet packets[BATCH];
    struct packet first = {.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP}};
    struct sockaddr_in to = {.sin_family = AF_INET};
    double rate = atof(argv[3]), seconds = atof(argv[4]);
    unsigned size = 0;
    for (const char *at = argv[5]; size < MOST_SIZE && sscanf(at, "%2hhx", &first.payload[size]) == 1; at += 2) size++;
    if (inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 || size != strlen(argv[5]) / 2 || rate <= 0)
        return fprintf(stderr, "forger: no such destination, rate or payload\n"), 2;
    first.ip.daddr = to.sin_addr.s_addr;
    first.udp.source = htons(40000);
    first.udp.dest = htons((uint16_t)atoi(argv[2]));
    first.udp.len = htons((uint16_t)(sizeof(struct udphdr) + size)); /* a checksum of 0: none (RFC 768) */
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    if (fd < 0) return perror("forger"), 1;
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH] = {0};
    for (int i = 0; i < BATCH; i++) {
        packets[i] = first;
        parts[i] = (struct iovec){&packets[i], sizeof(struct iphdr) + sizeof(struct udphdr) + size};
        messages[i].msg_hdr = (struct msghdr){.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &parts[i], .msg_iovlen = 1};
    }
    uint64_t began = now(), ends = began + (uint64_t)(seconds * (double)SECOND), sent = 0, refused = 0, due = 0, at;
    uint32_t number = 0;
    while ((at = now()) < ends) {
        due = (uint64_t)((double)(at - began) / (double)SECOND * rate);
        while (sent + refused < due) {
            unsigned count = due - sent - refused < BATCH ? (unsigned)(due - sent - refused) : BATCH;
            for (unsigned i = 0; i < count; i++) packets[i].ip.saddr = htonl(NETWORK | (number++ * STEP & HOSTS));
            int went = sendmmsg(fd, messages, count, MSG_DONTWAIT);
            if (went > 0) sent += (uint64_t)went;
            refused += count - (unsigned)(went > 0 ? went : 0);
        }
        struct timespec next = {0, (long)(TICK - (now() - began) % TICK)};
        nanosleep(&next, NULL);
    }
    printf("{\"seconds\": %f, \"sent\": %lu, \"refused\": %lu}\n", (double)(now() - began) / (double)SECOND, sent, refused);
    return 0;
}
