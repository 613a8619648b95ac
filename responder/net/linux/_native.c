/* The usual case of a burst of datagrams, without Python between one handler's call and the next: optional.

   It decides nothing: a decision says whether the datagrams of its flow are usual, and whatever is not is the port's
   (`AnswerUsual` in net/types.py).  Without it dispatch/port.py does the same in Python, and the same tests hold both.

   A handler may do anything while it is asked: have decisions forgotten, delete slots, call `answer` again.  So a burst is taken
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
enum { REPLY_CONTROL = 64, KNOWN = 8192 }; /* bytes; pairs of flows remembered, a power of two */
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
    X(CANDIDATE, interface) X(CANDIDATE, service) X(CANDIDATE, port) X(CANDIDATE, via) X(CANDIDATE, way)               \
    X(CANDIDATE, counts) X(CANDIDATE, plain_limit) X(CANDIDATE, respond) X(CANDIDATE, encoded) X(BINDING, notable)

#define NUMBER(kind, name) kind##_##name,
enum { PLACES_OF(NUMBER) PLACES };
#define KIND(kind, name) kind,
static const int kinds[PLACES] = {PLACES_OF(KIND)};
#define NAME(kind, name) #name,
static const char *const names[PLACES] = {PLACES_OF(NAME)};

/* What tells the flow of a datagram: its socket, the sender and the pktinfo, `size` bytes; 0 behind them. */
typedef struct {
    long long number, size;
    unsigned char raw[FLOW_SIZE];
} Key;
_Static_assert(sizeof(Key) == 16 + FLOW_SIZE && sizeof(Key) % 8 == 0, "it is compared, and read in eights");

/* A flow, and what was decided about it. */
typedef struct {
    Key key;
    int used; /* it was found here */
    PyObject *flow, *decision;
} Known;

typedef struct {
    PyObject_HEAD PyObject *classes, *decode;
    Py_ssize_t at[PLACES]; /* where the slots are in an object */
    long long drops;
    int busy; /* the buffers are in use: by another thread, or by whom `decode` or `encode` has called */
    size_t control_size;
    unsigned char *payloads;
    Known (*known)[2];
    struct mmsghdr in[BURST], out[BURST];
    struct iovec iov_in[BURST], iov_out[BURST];
    struct sockaddr_in6 names_in[BURST], names_out[BURST];
    _Alignas(struct cmsghdr) unsigned char controls_in[BURST][CONTROL_SIZE], controls_out[BURST][REPLY_CONTROL + CMSG_SPACE(2)];
} Memory;

/* A datagram, out of the memory; references of its own. */
typedef struct {
    PyObject *payload, *flow, *decision, *port;
    Key key;
    int truncated, hop_limit, port_number; /* hop_limit -1: not told */
    double timestamp;                      /* 0: not told */
} Arrived;

/* A plain answer that is to be sent, and to what. */
typedef struct {
    PyObject *answer, *candidate; /* references of its own */
    const Arrived *to;
} Queued;

/* What one `answer` has at hand. */
typedef struct {
    PyObject *port, *encode; /* its arguments' */
    int segments; /* the kernel knows them */
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

/* Forget the flows, each after it is out of the table: what was referred to may do anything as it goes. */
static PyObject *memory_forget(Memory *self, PyObject *Py_UNUSED(arguments))
{
    for (size_t i = 0; self->known != NULL && i < 2 * KNOWN; i++)
        if (self->known[i / 2][i % 2].flow != NULL) {
            Known was = self->known[i / 2][i % 2];
            self->known[i / 2][i % 2] = (Known){0};
            Py_DECREF(was.flow), Py_DECREF(was.decision);
        }
    Py_RETURN_NONE;
}

/* Not for the collector of cycles: what refers to it goes once its sockets have closed, each of which forgets. */
static void memory_dealloc(Memory *self)
{
    Py_DECREF(memory_forget(self, NULL));
    PyMem_Free(self->known), PyMem_RawFree(self->payloads);
    Py_XDECREF(self->classes), Py_XDECREF(self->decode);
    PyObject_Free(self);
}

/* All in one, so that there is none whose memory is not laid out. */
static PyObject *memory_new(PyTypeObject *type, PyObject *arguments, PyObject *Py_UNUSED(keywords))
{
    PyObject *classes, *decode;
    Py_ssize_t payload_size, control_size;
    if (!PyArg_ParseTuple(arguments, "O!Onn", &PyTuple_Type, &classes, &decode, &payload_size, &control_size))
        return NULL;
    if (PyTuple_GET_SIZE(classes) != CLASSES || payload_size < 0 || payload_size > PAYLOAD_SIZE || control_size < 0 ||
        control_size > CONTROL_SIZE)
        return PyErr_Format(PyExc_ValueError, "Memory(classes, decode, payload_size, control_size): out of range");
    Memory *self = (Memory *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->classes = Py_NewRef(classes), self->decode = Py_NewRef(decode), self->control_size = (size_t)control_size;
    self->payloads = PyMem_RawCalloc(BURST, PAYLOAD_STRIDE); /* pages that the kernel gives as they are used */
    self->known = PyMem_Calloc(KNOWN, sizeof *self->known);
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
static void read_header(Memory *self, long long number, struct msghdr *header, Arrived *one)
{
    const struct sockaddr_in6 *sender = header->msg_name;
    const unsigned char *end = (unsigned char *)header->msg_control + header->msg_controllen;
    *one = (Arrived){.truncated = (header->msg_flags & MSG_TRUNC) != 0, .hop_limit = -1, .port_number = ntohs(sender->sin6_port),
                     .key = {.number = number, .size = SENDER_SIZE}};
    memcpy(one->key.raw, &sender->sin6_addr, 16);
    memcpy(one->key.raw + 16, &sender->sin6_scope_id, 4);
    for (struct cmsghdr *message = CMSG_FIRSTHDR(header); message != NULL; message = CMSG_NXTHDR(header, message)) {
        /* A length that lies ends the walk, as in cmsg.py. */
        if (message->cmsg_len < CMSG_LEN(0) || message->cmsg_len > (size_t)(end - (unsigned char *)message))
            break;
        size_t told = message->cmsg_len - CMSG_LEN(0); /* less than it should be where there was no room */
        const unsigned char *data = CMSG_DATA(message);
        int level = message->cmsg_level, kind = message->cmsg_type;
#define IS(a_level, a_kind, size) (level == (a_level) && kind == (a_kind) && told >= (size))
        if (IS(IPPROTO_IP, IP_PKTINFO, sizeof(struct in_pktinfo))) {
            memset(one->key.raw + SENDER_SIZE, 0, FLOW_SIZE - SENDER_SIZE);
            memcpy(one->key.raw + SENDER_SIZE, data, sizeof(struct in_pktinfo)), one->key.size = SENDER_SIZE + sizeof(struct in_pktinfo);
        } else if (IS(IPPROTO_IPV6, IPV6_PKTINFO, sizeof(struct in6_pktinfo))) {
            if (one->key.size == SENDER_SIZE)
                memcpy(one->key.raw + SENDER_SIZE, data, sizeof(struct in6_pktinfo)), one->key.size = FLOW_SIZE;
        } else if (IS(IPPROTO_IP, IP_TTL, sizeof(int)) || IS(IPPROTO_IPV6, IPV6_HOPLIMIT, sizeof(int))) {
            memcpy(&one->hop_limit, data, sizeof(int));
        } else if (IS(SOL_SOCKET, SO_TIMESTAMPNS, 2 * sizeof(long))) {
            long at[2];
            memcpy(at, data, sizeof at), one->timestamp = (double)at[0] + (double)at[1] * 1e-9;
        } else if (IS(SOL_SOCKET, SO_RXQ_OVFL, sizeof(unsigned int))) {
            unsigned int drops;
            memcpy(&drops, data, sizeof drops), self->drops = drops;
        }
    }
}

static double seconds(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

/* Find its flow, and what is decided about it; -1 with an exception.

   A hash has a pair of places.  A new flow takes the one that was not asked for again since it came, or since both were; of
   two such the one that came first goes.  So a flood of flows that come once leaves alone what is in use. */
static int recall(Memory *self, Burst *burst, Arrived *one)
{
    unsigned long long hash = 0, parts[sizeof(Key) / 8];
    memcpy(parts, &one->key, sizeof(Key));
    for (size_t i = 0; i < sizeof(Key) / 8; i++) hash = (hash ^ parts[i]) * 0x9E3779B97F4A7C15ULL, hash ^= hash >> 32;
    Known *pair = self->known[hash & (KNOWN - 1)];
    for (int i = 0; i < 2; i++)
        if (memcmp(&pair[i].key, &one->key, sizeof(Key)) == 0) {
            one->flow = Py_NewRef(pair[i].flow), one->decision = Py_NewRef(pair[i].decision);
            return pair[i].used = 1, 0;
        }
    one->flow = PyObject_CallFunction(self->decode, "y#", (const char *)one->key.raw, (Py_ssize_t)one->key.size);
    one->decision = one->flow == NULL ? NULL : PyObject_CallMethod(burst->port, "decide", "O", one->flow);
    if (one->decision == NULL || !is_a(self, one->flow, FLOW) || !is_a(self, one->decision, DECISION))
        return -1;
    burst->began = seconds(); /* that was not the next handler's time */
    int both = pair[0].used && pair[1].used;
    pair[1].used &= !both;
    Known *place = &pair[pair[0].used && !both], was = *place;
    if (!pair[0].used && !pair[1].used) was = pair[1], pair[1] = pair[0];
    *place = (Known){.key = one->key, .flow = Py_NewRef(one->flow), .decision = Py_NewRef(one->decision)};
    Py_XDECREF(was.flow), Py_XDECREF(was.decision);
    return 0;
}

/* Take up to `limit` datagrams out of the socket: how many, or minus an errno. */
static int take(Memory *self, Burst *burst, int descriptor, unsigned int limit, long long number, Arrived *arrived)
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
        read_header(self, number, header, &arrived[i]);
        arrived[i].payload = PyBytes_FromStringAndSize(header->msg_iov->iov_base, (Py_ssize_t)self->in[i].msg_len);
        burst->bytes_in += self->in[i].msg_len;
        /* The kernel has written over them. */
        header->msg_namelen = sizeof(struct sockaddr_in6), header->msg_controllen = self->control_size, header->msg_flags = 0;
    }
    return count < 0 ? -error : count;
}

#define TIMESTAMP(one) ((one)->timestamp == 0.0 ? Py_NewRef(Py_None) : PyFloat_FromDouble((one)->timestamp))
#define HOP_LIMIT(one) ((one)->hop_limit < 0 ? Py_NewRef(Py_None) : PyLong_FromLong((one)->hop_limit))

static PyObject *received_of(Memory *self, const Arrived *one)
{
    PyObject *made = CLASS(RECEIVED)->tp_alloc(CLASS(RECEIVED), 0);
    if (made != NULL &&
        (put(self, made, RECEIVED_payload, Py_NewRef(one->payload)) || put(self, made, RECEIVED_flow, Py_NewRef(one->flow)) ||
         put(self, made, RECEIVED_truncated, PyBool_FromLong(one->truncated)) || put(self, made, RECEIVED_hop_limit, HOP_LIMIT(one)) ||
         put(self, made, RECEIVED_peer_port, Py_NewRef(one->port)) || put(self, made, RECEIVED_timestamp, TIMESTAMP(one))))
        Py_CLEAR(made);
    return made;
}

/* Have a run counted where it belongs, if there is one. */
static int end_run(Burst *burst)
{
    PyObject *candidate = burst->candidate;
    burst->candidate = NULL;
    if (candidate == NULL) return 0;
    PyObject *said = PyObject_CallMethod(candidate, "count", "lld", burst->asked, burst->answered, burst->spent);
    Py_DECREF(candidate);
    return done(said);
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
        burst->candidate = Py_NewRef(candidate), burst->spent = burst->asked = burst->answered = 0;
    }
    burst->answered += answered;
    if (took > bound)
        return done(PyObject_CallMethod(binding, "note", "d", took));
    return burst->asked++, burst->spent += took, 0;
}

static PyObject *peer_of(Memory *self, const Arrived *one)
{
    PyObject *peer = CLASS(PEER)->tp_alloc(CLASS(PEER), 0);
    if (peer != NULL && (put(self, peer, PEER_address, held(self, one->flow, FLOW_peer)) ||
                         put(self, peer, PEER_scope_id, held(self, one->flow, FLOW_scope_id)) ||
                         put(self, peer, PEER_port, Py_NewRef(one->port))))
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
static PyObject *request_of(Memory *self, Burst *burst, const Arrived *one, PyObject *candidate)
{
    double ago = one->timestamp == 0.0 ? 0.0 : burst->wall - one->timestamp;
    PyObject *request = blank_request(self, burst);
    int failed = request == NULL || put(self, request, REQUEST_payload, Py_NewRef(one->payload)) ||
                 put(self, request, REQUEST_peer, peer_of(self, one)) || put(self, request, REQUEST_hop_limit, HOP_LIMIT(one)) ||
                 put(self, request, REQUEST__candidate, Py_NewRef(candidate)) ||
                 /* Never later than now, should the real-time clock have been set back since. */
                 put(self, request, REQUEST_arrival, PyFloat_FromDouble(ago < 0.0 ? burst->now : burst->now - ago));
    for (int i = 0; !failed && i <= REQUEST_via - REQUEST_destination; i++) /* what all of a candidate's have in common */
        failed = put(self, request, REQUEST_destination + i, held(self, candidate, CANDIDATE_destination + i));
    if (failed)
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
    PyErr_Fetch(&kind, &value, &trace), PyErr_NormalizeException(&kind, &value, &trace);
    if (trace != NULL)
        PyException_SetTraceback(value, trace);
    return Py_XDECREF(kind), Py_XDECREF(trace), value;
#endif
}

/* Have the port do what is not the usual case: whether what it returns is true; -1 with an exception. */
static int hand_over(Memory *self, Burst *burst, const char *method, const Arrived *one, PyObject *what)
{
    PyObject *said = PyObject_CallMethod(burst->port, method, what == NULL ? "ON" : "ONO", one->decision,
                                         received_of(self, one), what);
    int result = said == NULL ? -1 : PyObject_IsTrue(said);
    Py_XDECREF(said);
    burst->began = seconds(); /* that was not the next handler's time */
    return result;
}

/* Ask the usual candidate. */
static int ask(Memory *self, Burst *burst, const Arrived *one, PyObject *candidate)
{
    PyObject *binding = held(self, candidate, CANDIDATE_binding), *respond = held(self, candidate, CANDIDATE_respond);
    PyObject *request = NULL, *answer = NULL, *error = NULL;
    int result = -1;
    if (binding != NULL && respond != NULL && is_a(self, binding, BINDING) &&
        (request = request_of(self, burst, one, candidate)) != NULL) {
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
            result = hand_over(self, burst, "failed", one, error);
        else if (result == 0 && (is_plain || (result = hand_over(self, burst, "other", one, answer)) == 1))
            burst->queue[burst->queued++] = (Queued){Py_NewRef(answer), Py_NewRef(candidate), one}, result = 0;
    }
    Py_XDECREF(error), Py_XDECREF(answer), Py_XDECREF(respond), Py_XDECREF(binding);
    return result;
}

static int answer_one(Memory *self, Burst *burst, Arrived *one)
{
    if (recall(self, burst, one) != 0 || (one->port = PyLong_FromLong(one->port_number)) == NULL)
        return -1;
    PyObject *candidate = held(self, one->decision, DECISION_usual), *suspects = held(self, one->decision, DECISION_suspects);
    int result = -1;
    if (candidate != NULL && suspects != NULL) {
        int unusual = candidate == Py_None || one->truncated ? 1 : PySequence_Contains(suspects, one->port);
        if (unusual == 1)
            result = hand_over(self, burst, "unusual", one, NULL);
        else if (unusual == 0 && is_a(self, candidate, CANDIDATE))
            result = ask(self, burst, one, candidate);
    }
    Py_XDECREF(suspects), Py_XDECREF(candidate);
    return result;
}

/* Bring the next answer to the peer of `one` to place `at`, if it may be a segment beside it: its size; 0: there is none. */
static size_t bring(Burst *burst, const Queued *one, int at)
{
    for (int i = at; i < burst->queued; i++) {
        Queued found = burst->queue[i];
        if (found.to->port_number == one->to->port_number && memcmp(&found.to->key, &one->to->key, sizeof(Key)) == 0 &&
            found.candidate == one->candidate) {
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
        Py_SETREF(encoded, PyObject_CallFunction(burst->encode, "N", held(self, one->candidate, CANDIDATE_way)));
        if (encoded != NULL) put(self, one->candidate, CANDIDATE_encoded, Py_NewRef(encoded));
    }
    Py_ssize_t size = encoded != NULL && PyBytes_Check(encoded) ? PyBytes_GET_SIZE(encoded) - (Py_ssize_t)NAME_REST : -1;
    size_t count = 0, length = (size_t)PyBytes_GET_SIZE(one->answer), next = length;
    if (size >= 0 && size <= REPLY_CONTROL) {
        unsigned char *control = self->controls_out[slot];
        self->names_out[slot].sin6_port = htons((unsigned short)one->to->port_number);
        memcpy((char *)&self->names_out[slot] + NAME_REST_AT, PyBytes_AS_STRING(encoded), NAME_REST);
        memcpy(&self->names_out[slot].sin6_addr, one->to->key.raw, sizeof(struct in6_addr)); /* a way is for many peers */
        memcpy(control, PyBytes_AS_STRING(encoded) + NAME_REST, (size_t)size);
        size_t room = IN6_IS_ADDR_V4MAPPED(&self->names_out[slot].sin6_addr) ? SEGMENT_SIZE : SEGMENT_SIZE_IPV6;
        size_t most = !burst->segments || length == 0 || length > room ? 1 : SEGMENTS_SIZE / length;
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
    for (int at = 0; at < burst->queued && (n = fill(self, burst, slots, at)) > 0; at += n) slots++;
    Py_BEGIN_ALLOW_THREADS
    sent = sendmmsg(descriptor, self->out, (unsigned int)slots, 0);
    Py_END_ALLOW_THREADS
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception))
        return -1; /* a KeyboardInterrupt comes once */
    PyErr_Clear();
    for (int i = 0; i < sent; i++) gone += (int)self->out[i].msg_hdr.msg_iovlen;
    for (int i = 0; i < gone; i++) burst->bytes_out += (long long)self->iov_out[i].iov_len;
    for (const Queued *left = burst->queue + gone; left < burst->queue + burst->queued; left++)
        if (done(PyObject_CallMethod(burst->port, "unsent", "OOOO", left->answer, left->candidate, left->to->flow,
                                     left->to->port)) != 0)
            return -1;
    return 0;
}

/* Have the buffers to oneself; -1 with an exception. */
static int enter(Memory *self)
{
    if (!self->busy) return self->busy = 1, 0;
    return PyErr_SetString(PyExc_RuntimeError, "another call works in this memory: it is for one thread"), -1;
}

static PyObject *memory_answer(Memory *self, PyObject *arguments)
{
    int descriptor, limit, result;
    long long number;
    Burst burst = {0};
    Arrived arrived[BURST];
    if (!PyArg_ParseTuple(arguments, "iiLpOddO", &descriptor, &limit, &number, &burst.segments, &burst.port, &burst.now,
                          &burst.wall, &burst.encode) || enter(self) != 0)
        return NULL;
    int taken = take(self, &burst, descriptor, limit < 0 || limit > BURST ? BURST : (unsigned int)limit, number, arrived);
    self->busy = 0, burst.began = seconds();
    result = PyErr_Occurred() ? -1 : 0; /* no memory for a payload */
    for (int i = 0; i < taken && result == 0; i++) result = answer_one(self, &burst, &arrived[i]);
    if (result == 0)
        result = end_run(&burst); /* before `unsent`, which takes back what was counted */
    if (result == 0 && burst.queued > 0 && (result = enter(self)) == 0) {
        result = send_queued(self, &burst, descriptor);
        self->busy = 0;
    }
    for (int i = 0; i < burst.queued; i++) Py_DECREF(burst.queue[i].answer), Py_DECREF(burst.queue[i].candidate);
    for (Arrived *one = arrived; one < arrived + taken; one++)
        Py_XDECREF(one->payload), Py_XDECREF(one->flow), Py_XDECREF(one->decision), Py_XDECREF(one->port);
    Py_XDECREF(burst.spare), Py_XDECREF(burst.candidate);
    return result == 0 ? Py_BuildValue("iLLL", taken, self->drops, burst.bytes_in, burst.bytes_out) : NULL;
}

static PyMethodDef memory_methods[] = {
    {"answer", (PyCFunction)memory_answer, METH_VARARGS,
     "answer(descriptor, limit, number, segments, port, now, wall, encode) -> how many datagrams there were, or minus the\n"
     "errno of why there was none; the drop counter that they told, or -1; the bytes that came in, and those that were sent."},
    {"forget", (PyCFunction)memory_forget, METH_NOARGS, "Forget the flows, and what was decided about them."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject memory_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "responder.net.linux._native.Memory", .tp_basicsize = sizeof(Memory),
    .tp_doc = "What `answer` works in.  For one thread; its sockets may share it.", .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = memory_new, .tp_dealloc = (destructor)memory_dealloc, .tp_methods = memory_methods,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_native", .m_size = -1};

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *made = PyModule_Create(&module);
    if (made != NULL && (PyModule_AddType(made, &memory_type) < 0 || PyModule_AddStringConstant(made, "source", SOURCE) < 0))
        Py_CLEAR(made);
    return made;
}
