/* recvmmsg and sendmmsg without Python between the system call and the objects: optional, see compiled.py.

   What it does is what batched.py does, and the same tests hold both.  It refuses to know what a way or a route
   means: `decode` gives the flow for the raw bytes of one, `encode` the raw bytes for the other.  It also refuses a call
   while another of the same direction works in its memory (of a thread, of `decode`, of `encode`): payloads would go to
   others' peers. */

#define _GNU_SOURCE
#include "_slots.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define SLOTS 64
#define PAYLOAD_SIZE 65536
/* No power of two: the first bytes of all payloads would otherwise share a few places of the processor's caches. */
#define PAYLOAD_STRIDE (PAYLOAD_SIZE + 192)
#define CONTROL_SIZE 256
#define SENDER_SIZE 20 /* sin6_addr and sin6_scope_id */
#define NAME_REST_AT offsetof(struct sockaddr_in6, sin6_flowinfo)
#define NAME_REST 24 /* sin6_flowinfo and those */
#define WAY_SIZE (SENDER_SIZE + sizeof(struct in6_pktinfo))
#define REPLY_CONTROL 64
#define KNOWN 4096 /* remembered; a power of two */

_Static_assert(NAME_REST_AT + NAME_REST == sizeof(struct sockaddr_in6), "a sockaddr_in6 ends with sin6_scope_id");

typedef struct {
    size_t size;
    unsigned char raw[WAY_SIZE];
    PyObject *flow;
} Known;

typedef struct {
    Py_ssize_t payload, flow, peer_port, truncated, control;
} Places;

typedef struct {
    PyObject_HEAD
    PyTypeObject *kind;
    Places at; /* where the slots are in an object of that kind */
    PyObject *decode;
    long long drops;
    int receiving, sending; /* a call is under way */
    size_t control_size;
    unsigned char *payloads;
    Known *known;
    struct mmsghdr in[SLOTS], out[SLOTS];
    struct iovec iov_in[SLOTS], iov_out[SLOTS];
    struct sockaddr_in6 names_in[SLOTS], names_out[SLOTS];
    _Alignas(struct cmsghdr) unsigned char controls_in[SLOTS][CONTROL_SIZE], controls_out[SLOTS][REPLY_CONTROL];
} Native;

/* No tp_clear beside it: a cycle through `decode` has a function or the like, which has one. */
static int native_traverse(Native *self, visitproc visit, void *arg)
{
    Py_VISIT(self->kind);
    Py_VISIT(self->decode);
    if (self->known != NULL)
        for (size_t i = 0; i < KNOWN; i++)
            Py_VISIT(self->known[i].flow);
    return 0;
}

static void native_dealloc(Native *self)
{
    PyObject_GC_UnTrack(self);
    if (self->known != NULL)
        for (size_t i = 0; i < KNOWN; i++)
            Py_XDECREF(self->known[i].flow);
    PyMem_Free(self->known);
    if (self->payloads != NULL)
        munmap(self->payloads, (size_t)SLOTS * PAYLOAD_STRIDE);
    Py_XDECREF(self->kind);
    Py_XDECREF(self->decode);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static void lay_out(Native *self, size_t payload_size)
{
    for (int i = 0; i < SLOTS; i++) {
        self->iov_in[i].iov_base = self->payloads + (size_t)i * PAYLOAD_STRIDE;
        self->iov_in[i].iov_len = payload_size;
        self->in[i].msg_hdr.msg_name = &self->names_in[i];
        self->in[i].msg_hdr.msg_iov = &self->iov_in[i];
        self->in[i].msg_hdr.msg_iovlen = 1;
        self->in[i].msg_hdr.msg_control = self->controls_in[i];
        self->in[i].msg_hdr.msg_controllen = self->control_size;
        self->in[i].msg_hdr.msg_namelen = sizeof(struct sockaddr_in6);
        self->names_out[i].sin6_family = AF_INET6;
        self->out[i].msg_hdr.msg_name = &self->names_out[i];
        self->out[i].msg_hdr.msg_namelen = sizeof(struct sockaddr_in6);
        self->out[i].msg_hdr.msg_iov = &self->iov_out[i];
        self->out[i].msg_hdr.msg_iovlen = 1;
        self->out[i].msg_hdr.msg_control = self->controls_out[i];
    }
}

/* All in one, so that there is none whose memory is not laid out. */
static PyObject *native_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"kind", "decode", "payload_size", "control_size", NULL};
    PyTypeObject *kind;
    PyObject *decode;
    Py_ssize_t payload_size = PAYLOAD_SIZE, control_size = CONTROL_SIZE;
    Places at;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O!O|nn", names, &PyType_Type, &kind, &decode,
                                     &payload_size, &control_size))
        return NULL;
    if (payload_size < 0 || payload_size > PAYLOAD_SIZE || control_size < 0 || control_size > CONTROL_SIZE)
        return PyErr_Format(PyExc_ValueError, "payload_size: 0-%d, control_size: 0-%d", PAYLOAD_SIZE, CONTROL_SIZE);
    if (slot_offset(kind, "payload", &at.payload) || slot_offset(kind, "flow", &at.flow) ||
        slot_offset(kind, "peer_port", &at.peer_port) || slot_offset(kind, "truncated", &at.truncated) ||
        slot_offset(kind, "control", &at.control))
        return NULL;
    Native *self = (Native *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    Py_INCREF(kind);
    self->kind = kind;
    Py_INCREF(decode);
    self->decode = decode;
    self->at = at;
    self->control_size = (size_t)control_size;
    self->drops = -1;
    void *payloads = mmap(NULL, (size_t)SLOTS * PAYLOAD_STRIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    self->known = PyMem_Calloc(KNOWN, sizeof(Known));
    self->payloads = payloads == MAP_FAILED ? NULL : payloads;
    if (self->payloads == NULL || self->known == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    lay_out(self, (size_t)payload_size);
    return (PyObject *)self;
}

/* The sender and the pktinfo of a datagram: IPv4's where there are both.  The size of what is written. */
static size_t way_of(Native *self, struct msghdr *header, unsigned char *raw)
{
    const struct sockaddr_in6 *sender = header->msg_name;
    const unsigned char *pktinfo = NULL, *end = (unsigned char *)header->msg_control + header->msg_controllen;
    size_t size = 0;
    memcpy(raw, &sender->sin6_addr, 16);
    memcpy(raw + 16, &sender->sin6_scope_id, 4);
    for (struct cmsghdr *message = CMSG_FIRSTHDR(header); message != NULL; message = CMSG_NXTHDR(header, message)) {
        /* A length that lies ends the walk, as in cmsg.py. */
        if (message->cmsg_len < CMSG_LEN(0) || message->cmsg_len > (size_t)(end - (unsigned char *)message))
            break;
        size_t told = message->cmsg_len - CMSG_LEN(0); /* less than it should be where there was no room */
        if (message->cmsg_level == IPPROTO_IP && message->cmsg_type == IP_PKTINFO &&
            told >= sizeof(struct in_pktinfo)) {
            pktinfo = CMSG_DATA(message);
            size = sizeof(struct in_pktinfo);
        } else if (message->cmsg_level == IPPROTO_IPV6 && message->cmsg_type == IPV6_PKTINFO && size == 0 &&
                   told >= sizeof(struct in6_pktinfo)) {
            pktinfo = CMSG_DATA(message);
            size = sizeof(struct in6_pktinfo);
        } else if (message->cmsg_level == SOL_SOCKET && message->cmsg_type == SO_RXQ_OVFL && told >= 4) {
            unsigned int drops;
            memcpy(&drops, CMSG_DATA(message), sizeof drops);
            self->drops = drops;
        }
    }
    if (size != 0)
        memcpy(raw + SENDER_SIZE, pktinfo, size);
    return SENDER_SIZE + size;
}

/* A new reference to the flow of a way; NULL with an exception. */
static PyObject *path_of(Native *self, const unsigned char *raw, size_t size)
{
    unsigned long long hash = 1469598103934665603ULL;
    for (size_t at = 0; at + 4 <= size; at += 4) {
        unsigned int word;
        memcpy(&word, raw + at, 4);
        hash = (hash ^ word) * 1099511628211ULL;
    }
    Known *entry = &self->known[(hash ^ hash >> 29) & (KNOWN - 1)];
    if (entry->flow == NULL || entry->size != size || memcmp(entry->raw, raw, size) != 0) {
        PyObject *flow = PyObject_CallFunction(self->decode, "y#", (const char *)raw, (Py_ssize_t)size);
        if (flow == NULL)
            return NULL;
        memcpy(entry->raw, raw, size);
        entry->size = size;
        Py_XSETREF(entry->flow, flow); /* what goes may run Python: it can't receive, see `receiving` */
    }
    Py_INCREF(entry->flow);
    return entry->flow;
}

static PyObject *received_of(Native *self, int slot)
{
    struct msghdr *header = &self->in[slot].msg_hdr;
    unsigned char raw[WAY_SIZE];
    if (header->msg_namelen < sizeof(struct sockaddr_in6)) /* no such sender: at least not the one before */
        memset(header->msg_name, 0, sizeof(struct sockaddr_in6));
    size_t size = way_of(self, header, raw);
    PyObject *one = self->kind->tp_alloc(self->kind, 0);
    if (one == NULL)
        return NULL;
    SLOT_AT(one, self->at.truncated) = PyBool_FromLong(header->msg_flags & MSG_TRUNC);
    if ((SLOT_AT(one, self->at.payload) =
             PyBytes_FromStringAndSize(header->msg_iov->iov_base, (Py_ssize_t)self->in[slot].msg_len)) == NULL ||
        (SLOT_AT(one, self->at.peer_port) = PyLong_FromLong(ntohs(self->names_in[slot].sin6_port))) == NULL ||
        (SLOT_AT(one, self->at.control) =
             PyBytes_FromStringAndSize(header->msg_control, (Py_ssize_t)header->msg_controllen)) == NULL ||
        (SLOT_AT(one, self->at.flow) = path_of(self, raw, size)) == NULL)
        Py_CLEAR(one);
    return one;
}

static PyObject *received_list(Native *self, int count)
{
    PyObject *list = PyList_New(count);
    for (int slot = 0; slot < count; slot++) {
        PyObject *one = list == NULL ? NULL : received_of(self, slot);
        if (one == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, slot, one);
        /* The kernel has written over them. */
        self->in[slot].msg_hdr.msg_namelen = sizeof(struct sockaddr_in6);
        self->in[slot].msg_hdr.msg_controllen = self->control_size;
        self->in[slot].msg_hdr.msg_flags = 0;
    }
    return list;
}

/* A file descriptor, or -1 with an exception; whether it is one that is open, the kernel says (EBADF). */
static int descriptor_of(PyObject *given, int *descriptor)
{
    long value = PyLong_AsLong(given);
    if (value == -1 && PyErr_Occurred())
        return -1;
    *descriptor = (int)value;
    if (*descriptor == value)
        return 0;
    PyErr_SetString(PyExc_OverflowError, "no file descriptor");
    return -1;
}

static const char in_use[] = "another call works in this memory: it is for one thread, and not for its own callbacks";

PyDoc_STRVAR(receive_doc, "receive(descriptor, limit) -> what is there, or the errno of why there is nothing.");

static PyObject *native_receive(Native *self, PyObject *const *arguments, Py_ssize_t given)
{
    int descriptor, count, error;
    if (given != 2) {
        PyErr_SetString(PyExc_TypeError, "receive(descriptor, limit)");
        return NULL;
    }
    Py_ssize_t limit = PyNumber_AsSsize_t(arguments[1], NULL);
    if ((limit == -1 && PyErr_Occurred()) || descriptor_of(arguments[0], &descriptor) != 0)
        return NULL;
    if (limit < 0 || self->receiving) {
        PyErr_SetString(limit < 0 ? PyExc_ValueError : PyExc_RuntimeError, limit < 0 ? "limit is negative" : in_use);
        return NULL;
    }
    self->receiving = 1;
    self->drops = -1;
    Py_BEGIN_ALLOW_THREADS
    count = recvmmsg(descriptor, self->in, limit > SLOTS ? SLOTS : (unsigned int)limit, 0, NULL);
    error = errno;
    Py_END_ALLOW_THREADS
    PyObject *result = count < 0 ? PyLong_FromLong(error) : received_list(self, count);
    self->receiving = 0;
    return result;
}

/* Put a message into a slot; -1 with an exception. */
static int fill(Native *self, int slot, PyObject *message, PyObject *routes, PyObject *encode)
{
    if (!PyTuple_Check(message) || PyTuple_GET_SIZE(message) < 3 || !PyBytes_Check(PyTuple_GET_ITEM(message, 0))) {
        PyErr_SetString(PyExc_TypeError, "expected (bytes, Route, port)");
        return -1;
    }
    PyObject *payload = PyTuple_GET_ITEM(message, 0), *route = PyTuple_GET_ITEM(message, 1);
    long port = PyLong_AsLong(PyTuple_GET_ITEM(message, 2));
    if (port < 0 || port > 0xFFFF) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "port must be 0-65535");
        return -1;
    }
    PyObject *encoded = PyDict_GetItemWithError(routes, route);
    if (encoded != NULL)
        Py_INCREF(encoded);
    else if (PyErr_Occurred() || (encoded = PyObject_CallOneArg(encode, route)) == NULL)
        return -1;
    if (!PyBytes_Check(encoded) || PyBytes_GET_SIZE(encoded) < NAME_REST ||
        PyBytes_GET_SIZE(encoded) > NAME_REST + REPLY_CONTROL) {
        Py_DECREF(encoded);
        PyErr_SetString(PyExc_TypeError, "no encoded route");
        return -1;
    }
    const char *bytes = PyBytes_AS_STRING(encoded);
    size_t control = (size_t)PyBytes_GET_SIZE(encoded) - NAME_REST;
    self->names_out[slot].sin6_port = htons((unsigned short)port);
    memcpy((char *)&self->names_out[slot] + NAME_REST_AT, bytes, NAME_REST);
    memcpy(self->controls_out[slot], bytes + NAME_REST, control);
    self->out[slot].msg_hdr.msg_controllen = control;
    self->iov_out[slot].iov_base = PyBytes_AS_STRING(payload);
    self->iov_out[slot].iov_len = (size_t)PyBytes_GET_SIZE(payload);
    Py_DECREF(encoded);
    return 0;
}

/* Send the first of `messages`, a tuple of our own: it keeps the payloads alive, whatever becomes of the caller's list. */
static PyObject *send_first(Native *self, int descriptor, PyObject *messages, PyObject *routes, PyObject *encode)
{
    int filled = 0, sent, error;
    for (; filled < SLOTS && filled < PyTuple_GET_SIZE(messages); filled++)
        if (fill(self, filled, PyTuple_GET_ITEM(messages, filled), routes, encode) != 0) {
            if (filled == 0 || !PyErr_ExceptionMatches(PyExc_Exception)) /* a KeyboardInterrupt comes once */
                return NULL;
            PyErr_Clear(); /* those before it go, and the next call meets it again */
            break;
        }
    Py_BEGIN_ALLOW_THREADS
    sent = sendmmsg(descriptor, self->out, (unsigned int)filled, 0);
    error = errno;
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(sent < 0 ? -error : sent);
}

PyDoc_STRVAR(send_doc, "send(descriptor, messages, start, routes, encode) -> how many from there on went, or minus an errno.");

static PyObject *native_send(Native *self, PyObject *const *arguments, Py_ssize_t given)
{
    int descriptor;
    if (given != 5 || !PyDict_Check(arguments[3])) {
        PyErr_SetString(PyExc_TypeError, "send(descriptor, messages, start, routes, encode)");
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(arguments[2]);
    if ((start == -1 && PyErr_Occurred()) || descriptor_of(arguments[0], &descriptor) != 0)
        return NULL;
    if (start < 0 || start > PY_SSIZE_T_MAX - SLOTS) {
        PyErr_SetString(PyExc_ValueError, "start is no place in a sequence");
        return NULL;
    }
    PyObject *part = PySequence_GetSlice(arguments[1], start, start + SLOTS);
    PyObject *messages = part == NULL ? NULL : PySequence_Tuple(part);
    Py_XDECREF(part);
    if (messages == NULL)
        return NULL;
    PyObject *result = NULL;
    if (self->sending)
        PyErr_SetString(PyExc_RuntimeError, in_use);
    else {
        self->sending = 1;
        result = send_first(self, descriptor, messages, arguments[3], arguments[4]);
        self->sending = 0;
    }
    Py_DECREF(messages);
    return result;
}

static PyMethodDef native_methods[] = {
    {"receive", (PyCFunction)(void (*)(void))native_receive, METH_FASTCALL, receive_doc},
    {"send", (PyCFunction)(void (*)(void))native_send, METH_FASTCALL, send_doc},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef native_members[] = {
    {"drops", T_LONGLONG, offsetof(Native, drops), READONLY, "The drop counter that the last call was told; -1: none."},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject native_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "responder.net.linux._native.Native",
    .tp_basicsize = sizeof(Native),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_doc = "The memory that the two calls work in.  For one thread; its sockets may share it.",
    .tp_new = native_new,
    .tp_dealloc = (destructor)native_dealloc,
    .tp_traverse = (traverseproc)native_traverse,
    .tp_free = PyObject_GC_Del,
    .tp_methods = native_methods,
    .tp_members = native_members,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "Many datagrams a system call.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *made = PyModule_Create(&module);
    if (made != NULL && PyModule_AddType(made, &native_type) < 0)
        Py_CLEAR(made);
    return made;
}
