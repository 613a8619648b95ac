/* The load generator of the echo rows: keeps requests in flight, checks every answer, and says what it saw as JSON.

       load PORT SECONDS WARM_UP RATE SOCKETS OUTSTANDING SIZE|PROTOCOL ADDRESS...

   RATE 0: a closed loop. Each of SOCKETS sockets keeps OUTSTANDING requests in flight for SECONDS, after WARM_UP seconds
   that don't count. RATE > 0: an open loop. A request leaves each 1/RATE second whether or not answers came, and latency
   runs from when it was due to leave, so that a server that stalls is charged for all that had to wait.

   With SIZE, requests are of so many bytes, and an answer counts if its bytes are those that were sent. With a PROTOCOL
   (stun, sntp, coap) requests are that protocol's, and an answer counts if it has the size, the first bytes and the
   transaction of one. It must come from the address that was asked; whatever else comes is "wrong". With one ADDRESS
   the sockets are connected: the kernel itself drops what comes from elsewhere, which then shows as "lost". A request
   without an answer for PATIENCE is lost.

   It never waits in the kernel: it is meant to have a core of its own, and to be faster than any server.
   Servers are started, and cores chosen, by tests/benchmarks/running.py. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { MOST_SOCKETS = 64, MOST_SLOTS = 1024, LEAST_SIZE = 8, MOST_SIZE = 1472, BATCH = 64, MOST_SAMPLES = 4000000 };
static const uint64_t SECOND = 1000000000, PATIENCE = 500000000;

struct header {
    uint32_t number; /* of the request: of 2**32 no two have the same, so a late answer is known as one */
    uint16_t slot;
    uint16_t socket;
};

/* What a request begins with, where the header stands in it and in its answer, the answer's size and first bytes. */
struct protocol {
    const char *name;
    unsigned char request[MOST_SIZE];
    unsigned size, header_at, answer_size, answered_at, first_bytes;
    unsigned char first[8];
};

static const struct protocol protocols[] = {
    /* RFC 8489: a Binding request, its transaction ID; the answer has XOR-MAPPED-ADDRESS. */
    {"stun", {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, 20, 8, 32, 8, 8, {1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42}},
    /* RFC 5905: version 4, mode 3, transmit timestamp; the answer has mode 4, stratum 10, and it as originate timestamp. */
    {"sntp", {0x23, 0, 6, 0xfa}, 48, 40, 48, 24, 2, {0x24, 10}},
    /* RFC 7252: a Confirmable GET of "/a", message ID and token of 8 bytes; the answer is piggybacked, with an entity tag of
       4 bytes, a content format and a payload of 5. */
    {"coap", {0x48, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xb1, 'a'}, 14, 2, 24, 2, 2, {0x68, 0x45}},
};
static struct protocol spoken;

struct slot {
    unsigned char payload[MOST_SIZE];
    uint64_t sent; /* ns: when it left, or was due to */
    uint32_t destination;
    int waiting;
};

struct client {
    int fd;
    unsigned waiting;
    struct slot *slots;
};

static struct client clients[MOST_SOCKETS];
static struct sockaddr_in *destinations;
static unsigned sockets, slots, n_destinations, next_destination;
static uint32_t numbers;
static uint64_t answers, sent, lost, wrong, late, errors;
static uint32_t *samples; /* ns */
static size_t n_samples;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void open_clients(uint16_t port, char **addresses, unsigned count) {
    n_destinations = count;
    destinations = calloc(count, sizeof *destinations);
    for (unsigned i = 0; i < count; i++) {
        destinations[i] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        if (inet_pton(AF_INET, addresses[i], &destinations[i].sin_addr) != 1) fail(addresses[i]);
    }
    for (unsigned s = 0; s < sockets; s++) {
        clients[s].fd = socket(AF_INET, SOCK_DGRAM, 0);
        if (clients[s].fd < 0) fail("socket");
        /* Room for all that one socket can have in flight: what is lost is then the server's doing. */
        int room = 4 << 20;
        setsockopt(clients[s].fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
        if (count == 1 && connect(clients[s].fd, (struct sockaddr *)destinations, sizeof *destinations) != 0)
            fail("connect");
        clients[s].slots = calloc(slots, sizeof(struct slot));
        for (unsigned i = 0; i < slots; i++) {
            unsigned char *payload = clients[s].slots[i].payload;
            memcpy(payload, spoken.request, spoken.size);
            for (unsigned at = sizeof(struct header); !spoken.name && at < spoken.size; at++)
                payload[at] = (unsigned char)(at * 31 + i * 7 + s);
        }
    }
}

/* Send the slots `which` of a client, each as a new request that counts as sent at `at`. */
static void send_slots(unsigned s, const uint32_t *which, unsigned count, uint64_t at) {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    for (unsigned i = 0; i < count; i++) {
        struct slot *slot = &clients[s].slots[which[i]];
        struct header header = {.number = ++numbers, .slot = (uint16_t)which[i], .socket = (uint16_t)s};
        memcpy(slot->payload + spoken.header_at, &header, sizeof header);
        slot->sent = at;
        if (!slot->waiting) clients[s].waiting++;
        slot->waiting = 1;
        vectors[i] = (struct iovec){.iov_base = slot->payload, .iov_len = spoken.size};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
        if (n_destinations > 1) {
            slot->destination = next_destination;
            next_destination = (next_destination + 1) % n_destinations;
            messages[i].msg_hdr.msg_name = &destinations[slot->destination];
            messages[i].msg_hdr.msg_namelen = sizeof *destinations;
        }
    }
    for (unsigned done = 0; done < count;) {
        int n = sendmmsg(clients[s].fd, messages + done, count - done, 0);
        if (n > 0) {
            done += (unsigned)n;
            sent += (unsigned)n;
        } else {
            /* An ICMP error of an earlier request: this one is given up, and shows as lost. */
            errors++;
            done++;
        }
    }
}

/* Take what has come to a client; `freed` gets the slots that are answered. */
static unsigned take(unsigned s, uint32_t *freed) {
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    static unsigned char buffers[BATCH][MOST_SIZE + 1];
    struct sockaddr_in names[BATCH];
    unsigned n_freed = 0, most = slots < BATCH ? slots : BATCH;
    for (unsigned i = 0; i < most; i++) {
        vectors[i] = (struct iovec){.iov_base = buffers[i], .iov_len = sizeof buffers[i]};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
        if (n_destinations > 1) {
            messages[i].msg_hdr.msg_name = &names[i];
            messages[i].msg_hdr.msg_namelen = sizeof names[i];
        }
    }
    int n = recvmmsg(clients[s].fd, messages, most, MSG_DONTWAIT, NULL);
    if (n < 0) {
        if (errno != EAGAIN) errors++;
        return 0;
    }
    uint64_t at = samples ? now() : 0;
    for (int i = 0; i < n; i++) {
        struct header header;
        memcpy(&header, buffers[i] + spoken.answered_at, sizeof header);
        if (messages[i].msg_len != spoken.answer_size || header.socket != s || header.slot >= slots) {
            wrong++;
            continue;
        }
        struct slot *slot = &clients[s].slots[header.slot];
        struct header expected;
        memcpy(&expected, slot->payload + spoken.header_at, sizeof expected);
        if (header.number != expected.number || !slot->waiting) {
            late++;
            continue;
        }
        struct sockaddr_in *asked = &destinations[slot->destination];
        if (memcmp(buffers[i], spoken.name ? spoken.first : slot->payload, spoken.first_bytes) != 0 ||
            (n_destinations > 1 &&
             (names[i].sin_addr.s_addr != asked->sin_addr.s_addr || names[i].sin_port != asked->sin_port))) {
            wrong++;
            continue;
        }
        answers++;
        slot->waiting = 0;
        clients[s].waiting--;
        if (samples && n_samples < MOST_SAMPLES) samples[n_samples++] = (uint32_t)(at - slot->sent);
        freed[n_freed++] = header.slot;
    }
    return n_freed;
}

/* Give up what has waited too long; `freed` gets those slots. */
static unsigned give_up(unsigned s, uint32_t *freed, uint64_t at) {
    unsigned n_freed = 0;
    for (uint32_t i = 0; i < slots && n_freed < BATCH && clients[s].waiting; i++) {
        struct slot *slot = &clients[s].slots[i];
        if (slot->waiting && at > slot->sent + PATIENCE) {
            slot->waiting = 0;
            clients[s].waiting--;
            lost++;
            freed[n_freed++] = i;
        }
    }
    return n_freed;
}

/* Not `wrong`: an answer that is, is so in the warm-up too. */
static void forget_counts(void) { answers = sent = lost = late = errors = n_samples = 0; }

static uint64_t closed_loop(uint64_t warm_up, uint64_t span) {
    uint32_t freed[BATCH], all[BATCH];
    for (uint32_t i = 0; i < slots && i < BATCH; i++) all[i] = i;
    uint64_t begin = now(), at = begin, looked = begin;
    int counting = 0;
    for (unsigned s = 0; s < sockets; s++) send_slots(s, all, slots, begin);
    for (;;) {
        for (unsigned s = 0; s < sockets; s++) {
            unsigned n = take(s, freed);
            if (n) send_slots(s, freed, n, at);
        }
        at = now();
        if (at - looked > PATIENCE / 4) {
            looked = at;
            for (unsigned s = 0; s < sockets; s++) {
                unsigned n = give_up(s, freed, at);
                if (n) send_slots(s, freed, n, at);
            }
        }
        if (!counting && at - begin >= warm_up) {
            counting = 1;
            begin = at;
            forget_counts();
        } else if (counting && at - begin >= span) {
            return at - begin;
        }
    }
}

static uint64_t open_loop(uint64_t warm_up, uint64_t span, double rate) {
    uint32_t freed[BATCH], next_slot[MOST_SOCKETS] = {0};
    double interval = 1e9 / rate;
    uint64_t begin = now(), first = begin, at = begin, looked = begin, count = 0;
    int counting = 0;
    samples = malloc(MOST_SAMPLES * sizeof *samples);
    for (;;) {
        uint64_t due = first + (uint64_t)(interval * (double)count);
        if (at >= due) {
            unsigned s = (unsigned)(count++ % sockets);
            uint32_t slot = next_slot[s];
            next_slot[s] = (slot + 1) % slots;
            if (clients[s].slots[slot].waiting) lost++; /* all slots in flight: the oldest makes room */
            send_slots(s, &slot, 1, due);
        }
        for (unsigned s = 0; s < sockets; s++)
            if (clients[s].waiting) take(s, freed);
        at = now();
        if (at - looked > PATIENCE / 4) {
            looked = at;
            for (unsigned s = 0; s < sockets; s++) give_up(s, freed, at);
        }
        if (!counting && at - begin >= warm_up) {
            counting = 1;
            begin = at;
            forget_counts();
        } else if (counting && at - begin >= span) {
            return at - begin;
        }
    }
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* What SIZE|PROTOCOL says; 0: nothing. */
static int speak(const char *said) {
    for (unsigned i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (strcmp(said, protocols[i].name) == 0) {
            spoken = protocols[i];
            return 1;
        }
    unsigned size = (unsigned)atoi(said);
    spoken = (struct protocol){.size = size, .answer_size = size, .first_bytes = size};
    return size >= LEAST_SIZE && size <= MOST_SIZE;
}

static double quantile(double q) { return n_samples ? samples[(size_t)(q * (double)(n_samples - 1))] / 1e3 : 0; }

int main(int argc, char **argv) {
    if (argc < 9) {
        fprintf(stderr, "usage: load PORT SECONDS WARM_UP RATE SOCKETS OUTSTANDING SIZE|PROTOCOL ADDRESS...\n");
        return 2;
    }
    uint64_t span = (uint64_t)(atof(argv[2]) * 1e9), warm_up = (uint64_t)(atof(argv[3]) * 1e9);
    double rate = atof(argv[4]);
    sockets = (unsigned)atoi(argv[5]), slots = (unsigned)atoi(argv[6]);
    unsigned most_slots = rate > 0 ? MOST_SLOTS : BATCH;
    if (sockets < 1 || sockets > MOST_SOCKETS || slots < 1 || slots > most_slots || !speak(argv[7]) ||
        span == 0 || span > 3600 * SECOND) {
        fprintf(stderr, "load: a number is out of bounds\n");
        return 2;
    }
    open_clients((uint16_t)atoi(argv[1]), argv + 8, (unsigned)(argc - 8));
    uint64_t took = rate > 0 ? open_loop(warm_up, span, rate) : closed_loop(warm_up, span);
    printf("{\"seconds\": %.6f, \"sent\": %lu, \"answers\": %lu, \"lost\": %lu, \"late\": %lu, \"wrong\": %lu, "
           "\"errors\": %lu",
           (double)took / 1e9, sent, answers, lost, late, wrong, errors);
    if (samples) {
        qsort(samples, n_samples, sizeof *samples, by_value);
        printf(", \"latency_us\": {\"median\": %.2f, \"p90\": %.2f, \"p99\": %.2f, \"p999\": %.2f}", quantile(0.5),
               quantile(0.9), quantile(0.99), quantile(0.999));
    }
    printf("}\n");
    return 0;
}
