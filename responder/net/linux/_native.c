/* The usual case of a burst of datagrams, without Python between one handler's call and the next: optional.

   It decides nothing: a decision says whether the datagrams of its flow are usual, and whatever is not is the port's
   (`AnswerUsual` in net/types.py).  Without it dispatch/port.py does the same in Python, and the same tests hold both.

   A handler may do anything while it is asked: forget decisions, delete slots, call `answer` again.  So a burst is taken
   out of the memory before the first handler is asked, put into it after the last, and what is used after a call into
   Python is held by a reference of its own. */

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#ifdef Py_GIL_DISABLED
#error "not for a free-threaded Python: between two calls into Python, nothing but the GIL keeps others out"
#endif

#define BURST 64
#define PAYLOAD_SIZE 65536
#define PAYLOAD_STRIDE (PAYLOAD_SIZE + 192) /* no power of two: the payloads would share few places of the caches */
#define CONTROL_SIZE 256
#define SENDER_SIZE 20 /* sin6_addr and sin6_scope_id */
#define NAME_REST_AT offsetof(struct sockaddr_in6, sin6_flowinfo)
#define NAME_REST (sizeof(struct sockaddr_in6) - NAME_REST_AT) /* sin6_flowinfo and those */
#define FLOW_SIZE (SENDER_SIZE + sizeof(struct in6_pktinfo))
enum { REPLY_CONTROL = 64, KNOWN = 16384 }; /* bytes; flows remembered, a power of two */
/* Bytes: of a segment, what an Ethernet frame carries by IPv4 and by IPv6; of all together, what an IP packet does. */
enum { SEGMENT_SIZE = 1472, SEGMENT_SIZE_IPV6 = 1452, SEGMENTS_SIZE = 65000 };

/* Python's classes with `__slots__` that this module makes and reads, and the slots of each. */

enum { RECEIVED, FLOW, REQUEST, PEER, DECISION, CANDIDATE, BINDING, CLASSES };

#define PLACES_OF(X)                                                                                                   \
    X(RECEIVED, payload) X(RECEIVED, flow) X(RECEIVED, peer_port) X(RECEIVED, truncated) X(RECEIVED, hop_limit)        \
    X(RECEIVED, timestamp) X(FLOW, peer) X(FLOW, scope_id) X(REQUEST, payload) X(REQUEST, peer)                        \
    X(REQUEST, destination) X(REQUEST, interface) X(REQUEST, service) X(REQUEST, port) X(REQUEST, via)                 \
    X(REQUEST, hop_limit) X(REQUEST, arrival) X(REQUEST, _candidate) X(PEER, address) X(PEER, port) X(PEER, scope_id)  \
    X(DECISION, usual) X(DECISION, suspects) X(CANDIDATE, binding) X(CANDIDATE, destination)                           \
    X(CANDIDATE, interface) X(CANDIDATE, service) X(CANDIDATE, port) X(CANDIDATE, via) X(CANDIDATE, route)             \
    X(CANDIDATE, counts) X(CANDIDATE, plain_limit) X(CANDIDATE, respond) X(CANDIDATE, encoded) X(BINDING, notable)

#define NUMBER(kind, name) kind##_##name,
enum { PLACES_OF(NUMBER) PLACES };
#define KIND(kind, name) kind,
static const int kinds[PLACES] = {PLACES_OF(KIND)};
#define NAME(kind, name) #name,
static const char *const names[PLACES] = {PLACES_OF(NAME)};

typedef struct {
    size_t size;
    unsigned char raw[FLOW_SIZE];
    PyObject *flow;
} Known;

typedef struct {
    PyObject_HEAD PyObject *classes, *decode;
    Py_ssize_t at[PLACES]; /* where the slots are in an object */
    long long drops;
    int segments; /* 1: the kernel knows them; -1: it does not; 0: it was not asked yet */
    int busy; /* the buffers are in use: by another thread, or by whom `decode` or `encode` has called */
    size_t control_size;
    unsigned char *payloads;
    Known *known;
    struct mmsghdr in[BURST], out[BURST];
    struct iovec iov_in[BURST], iov_out[BURST];
    struct sockaddr_in6 names_in[BURST], names_out[BURST];
    _Alignas(struct cmsghdr) unsigned char controls_in[BURST][CONTROL_SIZE], controls_out[BURST][REPLY_CONTROL + CMSG_SPACE(2)];
} Memory;

/* A datagram, out of the memory. */
typedef struct {
    PyObject *payload; /* a reference of its own */
    size_t size;
    unsigned char raw[FLOW_SIZE]; /* what tells its flow: the sender and the pktinfo, `size` bytes */
    int truncated, hop_limit, port; /* hop_limit -1: not told */
    double timestamp;               /* 0: not told */
} Arrived;

/* A plain answer that is to be sent, and whose; references of its own. */
typedef struct {
    PyObject *answer, *candidate;
    int port;
} Queued;

/* What one `answer` has at hand. */
typedef struct {
    PyObject *port, *decisions, *encode; /* its arguments' */
    double now, wall;
    PyObject *spare; /* a request that nobody kept */
    /* A run: datagrams one after the other that are counted in one place.  `asked` are those too quick to be told apart. */
    PyObject *candidate; /* the first one's */
    long asked, answered;
    double spent, began;
    long long bytes_in, bytes_out; /* of payload: all that came, and what was sent here */
    int queued;
    Queued queue[BURST];
} Burst;

#define CLASS(kind) ((PyTypeObject *)PyTuple_GET_ITEM(self->classes, kind))
#define SLOT(object, place) (*(PyObject **)((char *)(object) + self->at[place]))

/* Find the slots in the classes; -1 with an exception. */
static int learn(Memory *self)
{
    for (int i = 0; i < PLACES && !PyErr_Occurred(); i++) {
        PyTypeObject *kind = CLASS(kinds[i]);
        PyObject *found = PyType_Check(kind) ? PyObject_GetAttrString((PyObject *)kind, names[i]) : NULL;
        /* Not any descriptor: one that another class lent says where something is in that class's objects. */
        if (found != NULL && Py_IS_TYPE(found, &PyMemberDescr_Type) && PyType_IsSubtype(kind, PyDescr_TYPE(found)) &&
            ((PyMemberDescrObject *)found)->d_member->type == T_OBJECT_EX)
            self->at[i] = ((PyMemberDescrObject *)found)->d_member->offset;
        else if (!PyErr_Occurred())
            PyErr_Format(PyExc_TypeError, "%R.%s is no slot", kind, names[i]);
        Py_XDECREF(found);
    }
    return PyErr_Occurred() ? -1 : 0;
}

/* A new reference to what a slot holds; NULL with an exception where it is empty. */
static PyObject *held(Memory *self, PyObject *object, int place)
{
    PyObject *value = SLOT(object, place);
    if (value == NULL)
        PyErr_Format(PyExc_AttributeError, "%s.%s is empty", Py_TYPE(object)->tp_name, names[place]);
    Py_XINCREF(value);
    return value;
}

/* Have a slot hold `owned`, whose reference it takes; -1, with the exception that made it NULL. */
static int put(Memory *self, PyObject *object, int place, PyObject *owned)
{
    if (owned == NULL)
        return -1;
    Py_XSETREF(SLOT(object, place), owned);
    return 0;
}

/* Whether its slots are where we look for them; an exception where not. */
static int is_a(Memory *self, PyObject *object, int kind)
{
    if (PyObject_TypeCheck(object, CLASS(kind)))
        return 1;
    PyErr_Format(PyExc_TypeError, "expected %s, got %s", CLASS(kind)->tp_name, Py_TYPE(object)->tp_name);
    return 0;
}

/* 0 where a call gave something, which is dropped; -1 with an exception. */
static int done(PyObject *result)
{
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* Not for the collector of cycles: `decode` does not refer to it. */
static void memory_dealloc(Memory *self)
{
    for (size_t i = 0; self->known != NULL && i < KNOWN; i++)
        Py_XDECREF(self->known[i].flow);
    PyMem_Free(self->known);
    PyMem_RawFree(self->payloads);
    Py_XDECREF(self->classes), Py_XDECREF(self->decode);
    PyObject_Free(self);
}

/* All in one, so that there is none whose memory is not laid out. */
static PyObject *memory_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *classes, *decode;
    Py_ssize_t payload_size, control_size;
    (void)keywords;
    if (!PyArg_ParseTuple(arguments, "O!Onn", &PyTuple_Type, &classes, &decode, &payload_size, &control_size))
        return NULL;
    if (PyTuple_GET_SIZE(classes) != CLASSES || payload_size < 0 || payload_size > PAYLOAD_SIZE || control_size < 0 ||
        control_size > CONTROL_SIZE)
        return PyErr_Format(PyExc_ValueError, "Memory(classes, decode, payload_size, control_size): out of range");
    Memory *self = (Memory *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->classes = Py_NewRef(classes), self->decode = Py_NewRef(decode);
    self->control_size = (size_t)control_size;
    self->payloads = PyMem_RawCalloc(BURST, PAYLOAD_STRIDE); /* pages that the kernel gives as they are used */
    self->known = PyMem_Calloc(KNOWN, sizeof(Known));
    if (self->payloads == NULL || self->known == NULL)
        PyErr_NoMemory();
    else if (learn(self) == 0) {
        for (int i = 0; i < BURST; i++) {
            self->iov_in[i] = (struct iovec){self->payloads + (size_t)i * PAYLOAD_STRIDE, (size_t)payload_size};
            self->in[i].msg_hdr = (struct msghdr){
                .msg_name = &self->names_in[i], .msg_namelen = sizeof(struct sockaddr_in6), .msg_iov = &self->iov_in[i],
                .msg_iovlen = 1, .msg_control = self->controls_in[i], .msg_controllen = self->control_size};
            self->names_out[i].sin6_family = AF_INET6;
            self->out[i].msg_hdr = (struct msghdr){
                .msg_name = &self->names_out[i], .msg_namelen = sizeof(struct sockaddr_in6), .msg_control = self->controls_out[i]};
        }
        return (PyObject *)self;
    }
    Py_DECREF(self);
    return NULL;
}

/* Read a datagram's sender and control messages; of pktinfo IPv4's, where there are both. */
static void read_header(Memory *self, struct msghdr *header, Arrived *one)
{
    const struct sockaddr_in6 *sender = header->msg_name;
    const unsigned char *end = (unsigned char *)header->msg_control + header->msg_controllen;
    *one = (Arrived){.truncated = (header->msg_flags & MSG_TRUNC) != 0, .hop_limit = -1, .port = ntohs(sender->sin6_port),
                     .size = SENDER_SIZE};
    memcpy(one->raw, &sender->sin6_addr, 16);
    memcpy(one->raw + 16, &sender->sin6_scope_id, 4);
    for (struct cmsghdr *message = CMSG_FIRSTHDR(header); message != NULL; message = CMSG_NXTHDR(header, message)) {
        /* A length that lies ends the walk, as in cmsg.py. */
        if (message->cmsg_len < CMSG_LEN(0) || message->cmsg_len > (size_t)(end - (unsigned char *)message))
            break;
        size_t told = message->cmsg_len - CMSG_LEN(0); /* less than it should be where there was no room */
        const unsigned char *data = CMSG_DATA(message);
        int level = message->cmsg_level, kind = message->cmsg_type;
#define IS(a_level, a_kind, size) (level == (a_level) && kind == (a_kind) && told >= (size))
        if (IS(IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo))) {
            memcpy(one->raw + SENDER_SIZE, data, sizeof(struct in_pktinfo));
            one->size = SENDER_SIZE + sizeof(struct in_pktinfo);
        } else if (IS(IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo))) {
            if (one->size == SENDER_SIZE)
                memcpy(one->raw + SENDER_SIZE, data, sizeof(struct in6_pktinfo)), one->size = FLOW_SIZE;
        } else if (IS(IPPROTO_IP, IP_TTL, sizeof(int)) || IS(IPPROTO_IPV6, IPV6_HOPLIMIT, sizeof(int))) {
            memcpy(&one->hop_limit, data, sizeof(int));
        } else if (IS(SOL_SOCKET, SO_TIMESTAMPNS, 2 * sizeof(long))) {
            long at[2];
            memcpy(at, data, sizeof at);
            one->timestamp = (double)at[0] + (double)at[1] * 1e-9;
        } else if (IS(SOL_SOCKET, SO_RXQ_OVFL, sizeof(unsigned int))) {
            unsigned int drops;
            memcpy(&drops, data, sizeof drops);
            self->drops = drops;
        }
    }
}

/* A new reference to its flow; NULL with an exception. */
static PyObject *flow_of(Memory *self, const Arrived *one)
{
    unsigned long long hash = 1469598103934665603ULL;
    for (size_t at = 0; at < one->size; at += 4) {
        unsigned int part;
        memcpy(&part, one->raw + at, 4);
        hash = (hash ^ part) * 1099511628211ULL;
    }
    Known *entry = &self->known[(hash ^ hash >> 29) & (KNOWN - 1)];
    if (entry->flow != NULL && entry->size == one->size && memcmp(entry->raw, one->raw, one->size) == 0)
        return Py_NewRef(entry->flow);
    PyObject *flow = PyObject_CallFunction(self->decode, "y#", (const char *)one->raw, (Py_ssize_t)one->size);
    if (flow == NULL || !is_a(self, flow, FLOW))
        return Py_XDECREF(flow), NULL;
    memcpy(entry->raw, one->raw, one->size);
    entry->size = one->size;
    Py_XSETREF(entry->flow, Py_NewRef(flow));
    return flow;
}

/* Take up to `limit` datagrams out of the socket: how many, or minus an errno. */
static int take(Memory *self, int descriptor, unsigned int limit, Arrived *arrived)
{
    int count, error;
    self->drops = -1;
    Py_BEGIN_ALLOW_THREADS
    count = recvmmsg(descriptor, self->in, limit, 0, NULL);
    error = errno;
    Py_END_ALLOW_THREADS
    for (int i = 0; i < count; i++) {
        struct msghdr *header = &self->in[i].msg_hdr;
        if (header->msg_namelen < sizeof(struct sockaddr_in6)) /* no such sender: at least not the one before */
            memset(header->msg_name, 0, sizeof(struct sockaddr_in6));
        read_header(self, header, &arrived[i]);
        arrived[i].payload = PyBytes_FromStringAndSize(header->msg_iov->iov_base, (Py_ssize_t)self->in[i].msg_len);
        /* The kernel has written over them. */
        header->msg_namelen = sizeof(struct sockaddr_in6);
        header->msg_controllen = self->control_size;
        header->msg_flags = 0;
    }
    return count < 0 ? -error : count;
}

#define HOP_LIMIT(one) ((one)->hop_limit < 0 ? Py_NewRef(Py_None) : PyLong_FromLong((one)->hop_limit))

static PyObject *received_of(Memory *self, const Arrived *one, PyObject *flow)
{
    PyObject *made = CLASS(RECEIVED)->tp_alloc(CLASS(RECEIVED), 0);
    if (made != NULL &&
        (put(self, made, RECEIVED_payload, Py_NewRef(one->payload)) || put(self, made, RECEIVED_flow, Py_NewRef(flow)) ||
         put(self, made, RECEIVED_truncated, PyBool_FromLong(one->truncated)) || put(self, made, RECEIVED_hop_limit, HOP_LIMIT(one)) ||
         put(self, made, RECEIVED_peer_port, PyLong_FromLong(one->port)) ||
         put(self, made, RECEIVED_timestamp,
             one->timestamp == 0.0 ? Py_NewRef(Py_None) : PyFloat_FromDouble(one->timestamp))))
        Py_CLEAR(made);
    return made;
}

/* Have a run counted where it belongs, if there is one. */
static int end_run(Burst *burst)
{
    PyObject *candidate = burst->candidate;
    burst->candidate = NULL;
    int result = candidate == NULL ? 0 : done(PyObject_CallMethod(
        candidate, "count", "lld", burst->asked, burst->answered, burst->spent));
    Py_XDECREF(candidate);
    return result;
}

/* Note that a call took so long, and whether it gave a plain answer. */
static int note(Memory *self, Burst *burst, PyObject *candidate, PyObject *binding, double took, int answered)
{
    PyObject *before = burst->candidate; /* of the run */
    double bound = PyFloat_AsDouble(SLOT(binding, BINDING_notable));
    if (bound == -1.0 && PyErr_Occurred())
        return -1;
    if (before == NULL || SLOT(before, CANDIDATE_binding) != binding ||
        SLOT(before, CANDIDATE_counts) != SLOT(candidate, CANDIDATE_counts)) {
        if (end_run(burst) != 0)
            return -1;
        burst->candidate = Py_NewRef(candidate);
        burst->spent = burst->asked = burst->answered = 0;
    }
    burst->answered += answered;
    if (took > bound)
        return done(PyObject_CallMethod(binding, "note", "d", took));
    burst->asked++;
    burst->spent += took;
    return 0;
}

static PyObject *peer_of(Memory *self, PyObject *flow, PyObject *port)
{
    PyObject *peer = CLASS(PEER)->tp_alloc(CLASS(PEER), 0);
    if (peer != NULL && (put(self, peer, PEER_address, held(self, flow, FLOW_peer)) || put(self, peer, PEER_port, Py_NewRef(port)) ||
                         put(self, peer, PEER_scope_id, held(self, flow, FLOW_scope_id))))
        Py_CLEAR(peer);
    return peer;
}

/* The spare request, unless somebody refers to it, if only weakly; else a new one.  A new reference. */
static PyObject *blank_request(Memory *self, Burst *burst)
{
    PyTypeObject *kind = CLASS(REQUEST);
    PyObject *spare = burst->spare;
    burst->spare = NULL;
    if (spare != NULL && Py_REFCNT(spare) == 1 &&
        (kind->tp_weaklistoffset == 0 || *(PyObject **)((char *)spare + kind->tp_weaklistoffset) == NULL))
        return spare;
    Py_XDECREF(spare);
    return kind->tp_alloc(kind, 0);
}

/* What `request_of` makes in dispatch/request.py; NULL with an exception. */
static PyObject *request_of(Memory *self, Burst *burst, const Arrived *one, PyObject *flow, PyObject *candidate, PyObject *port)
{
    double ago = one->timestamp == 0.0 ? 0.0 : burst->wall - one->timestamp;
    PyObject *request = blank_request(self, burst);
    if (request != NULL &&
        (put(self, request, REQUEST_payload, Py_NewRef(one->payload)) || put(self, request, REQUEST_peer, peer_of(self, flow, port)) ||
         put(self, request, REQUEST_destination, held(self, candidate, CANDIDATE_destination)) ||
         put(self, request, REQUEST_interface, held(self, candidate, CANDIDATE_interface)) ||
         put(self, request, REQUEST_service, held(self, candidate, CANDIDATE_service)) ||
         put(self, request, REQUEST_port, held(self, candidate, CANDIDATE_port)) ||
         put(self, request, REQUEST_via, held(self, candidate, CANDIDATE_via)) ||
         put(self, request, REQUEST_hop_limit, HOP_LIMIT(one)) || put(self, request, REQUEST__candidate, Py_NewRef(candidate)) ||
         /* Never later than now, should the real-time clock have been set back since. */
         put(self, request, REQUEST_arrival, PyFloat_FromDouble(ago < 0.0 ? burst->now : burst->now - ago))))
        Py_CLEAR(request);
    return request;
}

/* What was raised, as an object; the exception is no longer set. */
static PyObject *raised(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    PyErr_NormalizeException(&kind, &value, &trace);
    if (trace != NULL)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(kind), Py_XDECREF(trace);
    return value;
#endif
}

static double seconds(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

/* Have the port do what is not the usual case: whether what it returns is true; -1 with an exception. */
static int hand_over(Memory *self, Burst *burst, const char *method, PyObject *decision, const Arrived *one,
                     PyObject *flow, PyObject *what)
{
    PyObject *said = PyObject_CallMethod(burst->port, method, what == NULL ? "ON" : "ONO", decision,
                                         received_of(self, one, flow), what);
    int result = said == NULL ? -1 : PyObject_IsTrue(said);
    Py_XDECREF(said);
    burst->began = seconds(); /* that was not the next handler's time */
    return result;
}

/* Ask the usual candidate. */
static int ask(Memory *self, Burst *burst, const Arrived *one, PyObject *flow, PyObject *decision, PyObject *candidate,
               PyObject *port)
{
    PyObject *binding = held(self, candidate, CANDIDATE_binding), *respond = held(self, candidate, CANDIDATE_respond);
    PyObject *request = NULL, *answer = NULL, *error = NULL;
    int result = -1;
    if (binding != NULL && respond != NULL && is_a(self, binding, BINDING) &&
        (request = request_of(self, burst, one, flow, candidate, port)) != NULL) {
        answer = PyObject_CallOneArg(respond, request);
        double ended = seconds(), took = ended - burst->began;
        burst->began = ended;
        burst->spare = request; /* `blank_request` has emptied it */
        error = answer == NULL ? raised() : NULL;
        int is_plain = answer != NULL && PyBytes_CheckExact(answer) &&
                       PyBytes_GET_SIZE(answer) <= PyLong_AsSsize_t(SLOT(candidate, CANDIDATE_plain_limit));
        if (!PyErr_Occurred())
            result = note(self, burst, candidate, binding, took, is_plain);
        if (result == 0 && answer == NULL)
            result = hand_over(self, burst, "failed", decision, one, flow, error);
        else if (result == 0 && (is_plain || (result = hand_over(self, burst, "other", decision, one, flow, answer)) == 1))
            burst->queue[burst->queued++] = (Queued){Py_NewRef(answer), Py_NewRef(candidate), one->port}, result = 0;
    }
    Py_XDECREF(error), Py_XDECREF(answer), Py_XDECREF(respond), Py_XDECREF(binding);
    return result;
}

static int answer_one(Memory *self, Burst *burst, const Arrived *one)
{
    PyObject *flow = one->payload == NULL ? NULL : flow_of(self, one), *candidate = NULL, *suspects = NULL, *port = NULL;
    PyObject *decision = flow == NULL ? NULL : Py_XNewRef(PyDict_GetItemWithError(burst->decisions, flow));
    int result = -1;
    if (flow != NULL && decision == NULL && !PyErr_Occurred()) {
        decision = PyObject_CallMethod(burst->port, "missed", "O", flow);
        burst->began = seconds();
    }
    if (decision != NULL && is_a(self, decision, DECISION) &&
        (candidate = held(self, decision, DECISION_usual)) != NULL &&
        (suspects = held(self, decision, DECISION_suspects)) != NULL && (port = PyLong_FromLong(one->port)) != NULL) {
        int unusual = candidate == Py_None || one->truncated ? 1 : PySequence_Contains(suspects, port);
        if (unusual == 1)
            result = hand_over(self, burst, "unusual", decision, one, flow, NULL);
        else if (unusual == 0 && is_a(self, candidate, CANDIDATE))
            result = ask(self, burst, one, flow, decision, candidate, port);
    }
    Py_XDECREF(port), Py_XDECREF(suspects), Py_XDECREF(candidate), Py_XDECREF(decision), Py_XDECREF(flow);
    return result;
}

/* Bring the next answer to the peer of `one` to place `at`, if it may be a segment beside it: its size; 0: there is none. */
static size_t bring(Burst *burst, const Queued *one, int at)
{
    for (int i = at; i < burst->queued; i++) {
        Queued found = burst->queue[i];
        if (found.candidate == one->candidate && found.port == one->port) {
            Py_ssize_t size = PyBytes_GET_SIZE(found.answer);
            if (size > PyBytes_GET_SIZE(one->answer))
                return 0; /* in order */
            memmove(&burst->queue[at + 1], &burst->queue[at], (size_t)(i - at) * sizeof found);
            burst->queue[at] = found;
            return (size_t)size;
        }
    }
    return 0;
}

/* Lay out a message for an answer, and for those that may be segments beside it (udp(7), UDP_SEGMENT: of one size, the last may
   be smaller), by the encoded route: the sockaddr behind the port, and control messages.  How many; -1 with an exception. */
static int fill(Memory *self, Burst *burst, int slot, int first)
{
    const Queued *one = &burst->queue[first];
    PyObject *encoded = held(self, one->candidate, CANDIDATE_encoded);
    if (encoded == Py_None) {
        Py_SETREF(encoded, PyObject_CallFunction(burst->encode, "N", held(self, one->candidate, CANDIDATE_route)));
        if (encoded != NULL)
            put(self, one->candidate, CANDIDATE_encoded, Py_NewRef(encoded));
    }
    Py_ssize_t size = encoded != NULL && PyBytes_Check(encoded) ? PyBytes_GET_SIZE(encoded) - (Py_ssize_t)NAME_REST : -1;
    size_t count = 0, length = (size_t)PyBytes_GET_SIZE(one->answer), next = length;
    if (size >= 0 && size <= REPLY_CONTROL) {
        unsigned char *control = self->controls_out[slot];
        self->names_out[slot].sin6_port = htons((unsigned short)one->port);
        memcpy((char *)&self->names_out[slot] + NAME_REST_AT, PyBytes_AS_STRING(encoded), NAME_REST);
        memcpy(control, PyBytes_AS_STRING(encoded) + NAME_REST, (size_t)size);
        size_t room = IN6_IS_ADDR_V4MAPPED(&self->names_out[slot].sin6_addr) ? SEGMENT_SIZE : SEGMENT_SIZE_IPV6;
        size_t most = self->segments < 0 || length == 0 || length > room ? 1 : SEGMENTS_SIZE / length;
        do
            self->iov_out[first + count] = (struct iovec){PyBytes_AS_STRING(one[count].answer), next};
        while (++count < most && next == length && (next = bring(burst, one, first + (int)count)) > 0);
        if (count > 1) {
            struct cmsghdr *segment = (struct cmsghdr *)(control + CMSG_ALIGN((size_t)size));
            *segment = (struct cmsghdr){.cmsg_len = CMSG_LEN(2), .cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT};
            memcpy(CMSG_DATA(segment), &(unsigned short){(unsigned short)length}, 2);
            size = (Py_ssize_t)(CMSG_ALIGN((size_t)size) + CMSG_LEN(2));
        }
        self->out[slot].msg_hdr.msg_iov = &self->iov_out[first], self->out[slot].msg_hdr.msg_iovlen = count;
        self->out[slot].msg_hdr.msg_controllen = (size_t)size;
    } else if (encoded != NULL)
        PyErr_SetString(PyExc_TypeError, "no encoded route");
    Py_XDECREF(encoded);
    return PyErr_Occurred() ? -1 : (int)count;
}

/* Send what is queued; what does not go is the port's, which meets the refusal again and knows what it means. */
static int send_queued(Memory *self, Burst *burst, int descriptor)
{
    int slots = 0, sent, gone = 0, n;
    if (self->segments == 0) /* an older kernel would pass over the message, and send one datagram */
        self->segments = getsockopt(descriptor, SOL_UDP, UDP_SEGMENT, &n, &(socklen_t){sizeof n}) == 0 ? 1 : -1;
    for (int at = 0; at < burst->queued && (n = fill(self, burst, slots, at)) > 0; at += n)
        slots++;
    Py_BEGIN_ALLOW_THREADS
    sent = sendmmsg(descriptor, self->out, (unsigned int)slots, 0);
    Py_END_ALLOW_THREADS
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
        return -1; /* a KeyboardInterrupt comes once */
    PyErr_Clear();
    for (int i = 0; i < sent; i++) gone += (int)self->out[i].msg_hdr.msg_iovlen;
    for (int i = 0; i < gone; i++) burst->bytes_out += (long long)self->iov_out[i].iov_len;
    for (const Queued *left = burst->queue + gone; left < burst->queue + burst->queued; left++)
        if (done(PyObject_CallMethod(burst->port, "unsent", "OOi", left->answer, left->candidate, left->port)) != 0)
            return -1;
    return 0;
}

/* Have the buffers to oneself; -1 with an exception. */
static int enter(Memory *self)
{
    if (!self->busy)
        return self->busy = 1, 0;
    PyErr_SetString(PyExc_RuntimeError, "another call works in this memory: it is for one thread");
    return -1;
}

static PyObject *memory_answer(Memory *self, PyObject *arguments)
{
    int descriptor, limit, result = 0;
    Burst burst = {0};
    Arrived arrived[BURST];
    if (!PyArg_ParseTuple(arguments, "iiOO!ddO", &descriptor, &limit, &burst.port, &PyDict_Type, &burst.decisions,
                          &burst.now, &burst.wall, &burst.encode) || enter(self) != 0)
        return NULL;
    int taken = take(self, descriptor, limit < 0 || limit > BURST ? BURST : (unsigned int)limit, arrived);
    for (int i = 0; i < taken; i++) burst.bytes_in += self->in[i].msg_len;
    self->busy = 0;
    burst.began = seconds();
    for (int i = 0; i < taken; i++) {
        if (result == 0)
            result = answer_one(self, &burst, &arrived[i]);
        Py_XDECREF(arrived[i].payload);
    }
    if (result == 0)
        result = end_run(&burst); /* before `unsent`, which takes back what was counted */
    if (result == 0 && burst.queued > 0 && (result = enter(self)) == 0) {
        result = send_queued(self, &burst, descriptor);
        self->busy = 0;
    }
    for (int i = 0; i < burst.queued; i++) Py_DECREF(burst.queue[i].answer), Py_DECREF(burst.queue[i].candidate);
    Py_XDECREF(burst.spare), Py_XDECREF(burst.candidate);
    return result == 0 ? Py_BuildValue("iLLL", taken, self->drops, burst.bytes_in, burst.bytes_out) : NULL;
}

static PyMethodDef memory_methods[] = {
    {"answer", (PyCFunction)memory_answer, METH_VARARGS,
     "answer(descriptor, limit, port, decisions, now, wall, encode) -> how many datagrams there were, or minus the\n"
     "errno of why there was none; the drop counter that they told, or -1; the bytes that came in, and those that were\n"
     "sent.  See `responder.net.types.AnswerUsual`."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject memory_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "responder.net.linux._native.Memory",
    .tp_basicsize = sizeof(Memory),
    .tp_doc = "What `answer` works in.  For one thread; its sockets may share it.",
    .tp_flags = Py_TPFLAGS_DEFAULT, .tp_new = memory_new, .tp_dealloc = (destructor)memory_dealloc, .tp_methods = memory_methods,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_native", .m_size = -1};

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *made = PyModule_Create(&module);
    if (made != NULL && (PyModule_AddType(made, &memory_type) < 0 || PyModule_AddStringConstant(made, "source", SOURCE) < 0))
        Py_CLEAR(made);
    return made;
}
