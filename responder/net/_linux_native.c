/* recvmmsg and sendmmsg without Python between the system call and the objects: optional, see _linux_compiled.py.

   What it does is what _linux_batched.py does, and the same tests hold both.  It refuses to know what a way or a route
   means: `decode` gives the path for the raw bytes of one, `encode` the raw bytes for the other. */

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
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
#define NAME_REST 24   /* sin6_flowinfo and those */
#define WAY_SIZE (SENDER_SIZE + sizeof(struct in6_pktinfo))
#define REPLY_CONTROL 64
#define WAYS 4096 /* remembered; a power of two */

typedef struct {
    size_t size;
    unsigned char raw[WAY_SIZE];
    PyObject *path;
} Way;

typedef struct {
    PyObject_HEAD
    PyTypeObject *kind;
    PyObject *decode;
    Py_ssize_t payload, path, peer_port, truncated, control; /* where the slots are in an object of that kind */
    long long drops;
    size_t control_size;
    unsigned char *payloads;
    Way *ways;
    struct mmsghdr in[SLOTS], out[SLOTS];
    struct iovec iov_in[SLOTS], iov_out[SLOTS];
    struct sockaddr_in6 names_in[SLOTS], names_out[SLOTS];
    union {
        struct cmsghdr align;
        unsigned char bytes[CONTROL_SIZE];
    } controls_in[SLOTS];
    union {
        struct cmsghdr align;
        unsigned char bytes[REPLY_CONTROL];
    } controls_out[SLOTS];
} Native;

static int slot_offset(PyObject *kind, const char *name, Py_ssize_t *offset)
{
    PyObject *found = PyObject_GetAttrString(kind, name);
    if (found == NULL)
        return -1;
    if (!Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        Py_DECREF(found);
        PyErr_Format(PyExc_TypeError, "%s is no slot", name);
        return -1;
    }
    *offset = ((PyMemberDescrObject *)found)->d_member->offset;
    Py_DECREF(found);
    return 0;
}

static void native_dealloc(Native *self)
{
    if (self->ways != NULL)
        for (size_t i = 0; i < WAYS; i++)
            Py_XDECREF(self->ways[i].path);
    PyMem_Free(self->ways);
    if (self->payloads != NULL)
        munmap(self->payloads, (size_t)SLOTS * PAYLOAD_STRIDE);
    Py_XDECREF(self->kind);
    Py_XDECREF(self->decode);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int native_init(Native *self, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"kind", "decode", "payload_size", "control_size", NULL};
    PyObject *kind, *decode;
    unsigned int payload_size = PAYLOAD_SIZE, control_size = CONTROL_SIZE;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O!O|II", names, &PyType_Type, &kind, &decode,
                                     &payload_size, &control_size))
        return -1;
    if (payload_size > PAYLOAD_SIZE || control_size > CONTROL_SIZE || self->payloads != NULL) {
        PyErr_SetString(PyExc_ValueError, "sizes too large, or made twice");
        return -1;
    }
    if (slot_offset(kind, "payload", &self->payload) || slot_offset(kind, "path", &self->path) ||
        slot_offset(kind, "peer_port", &self->peer_port) || slot_offset(kind, "truncated", &self->truncated) ||
        slot_offset(kind, "control", &self->control))
        return -1;
    void *payloads = mmap(NULL, (size_t)SLOTS * PAYLOAD_STRIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (payloads == MAP_FAILED) {
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    self->payloads = payloads;
    self->ways = PyMem_Calloc(WAYS, sizeof(Way));
    if (self->ways == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->control_size = control_size;
    Py_INCREF(kind);
    self->kind = (PyTypeObject *)kind;
    Py_INCREF(decode);
    self->decode = decode;
    for (int i = 0; i < SLOTS; i++) {
        self->iov_in[i].iov_base = self->payloads + (size_t)i * PAYLOAD_STRIDE;
        self->iov_in[i].iov_len = payload_size;
        self->in[i].msg_hdr.msg_name = &self->names_in[i];
        self->in[i].msg_hdr.msg_iov = &self->iov_in[i];
        self->in[i].msg_hdr.msg_iovlen = 1;
        self->in[i].msg_hdr.msg_control = self->controls_in[i].bytes;
        self->in[i].msg_hdr.msg_controllen = control_size;
        self->in[i].msg_hdr.msg_namelen = sizeof(struct sockaddr_in6);
        self->names_out[i].sin6_family = AF_INET6;
        self->out[i].msg_hdr.msg_name = &self->names_out[i];
        self->out[i].msg_hdr.msg_namelen = sizeof(struct sockaddr_in6);
        self->out[i].msg_hdr.msg_iov = &self->iov_out[i];
        self->out[i].msg_hdr.msg_iovlen = 1;
        self->out[i].msg_hdr.msg_control = self->controls_out[i].bytes;
    }
    return 0;
}

/* The sender and the pktinfo of a datagram: IPv4's where there are both.  The size of what is written. */
static size_t way_of(Native *self, struct msghdr *header, unsigned char *raw)
{
    const unsigned char *pktinfo = NULL;
    size_t size = 0;
    memcpy(raw, &((struct sockaddr_in6 *)header->msg_name)->sin6_addr, 16);
    memcpy(raw + 16, &((struct sockaddr_in6 *)header->msg_name)->sin6_scope_id, 4);
    for (struct cmsghdr *message = CMSG_FIRSTHDR(header); message != NULL; message = CMSG_NXTHDR(header, message)) {
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

/* A new reference to the path of a way; NULL with an exception. */
static PyObject *path_of(Native *self, const unsigned char *raw, size_t size)
{
    unsigned long long hash = 1469598103934665603ULL;
    for (size_t at = 0; at + 4 <= size; at += 4) {
        unsigned int word;
        memcpy(&word, raw + at, 4);
        hash = (hash ^ word) * 1099511628211ULL;
    }
    Way *way = &self->ways[(hash ^ hash >> 29) & (WAYS - 1)];
    if (way->path == NULL || way->size != size || memcmp(way->raw, raw, size) != 0) {
        PyObject *path = PyObject_CallFunction(self->decode, "y#", (const char *)raw, (Py_ssize_t)size);
        if (path == NULL)
            return NULL;
        memcpy(way->raw, raw, size);
        way->size = size;
        Py_XSETREF(way->path, path);
    }
    Py_INCREF(way->path);
    return way->path;
}

static PyObject *received_of(Native *self, int slot)
{
    struct msghdr *header = &self->in[slot].msg_hdr;
    unsigned char raw[WAY_SIZE];
    size_t size = way_of(self, header, raw);
    char *one = (char *)self->kind->tp_alloc(self->kind, 0);
    if (one == NULL)
        return NULL;
    *(PyObject **)(one + self->payload) = PyBytes_FromStringAndSize(header->msg_iov->iov_base, self->in[slot].msg_len);
    *(PyObject **)(one + self->path) = path_of(self, raw, size);
    *(PyObject **)(one + self->peer_port) = PyLong_FromLong(ntohs(self->names_in[slot].sin6_port));
    *(PyObject **)(one + self->control) =
        PyBytes_FromStringAndSize(header->msg_control, (Py_ssize_t)header->msg_controllen);
    *(PyObject **)(one + self->truncated) = PyBool_FromLong(header->msg_flags & MSG_TRUNC);
    if (*(PyObject **)(one + self->payload) == NULL || *(PyObject **)(one + self->path) == NULL ||
        *(PyObject **)(one + self->peer_port) == NULL || *(PyObject **)(one + self->control) == NULL) {
        Py_DECREF(one);
        return NULL;
    }
    return (PyObject *)one;
}

PyDoc_STRVAR(receive_doc, "receive(descriptor, limit) -> what is there, or the errno of why there is nothing.");

static PyObject *native_receive(Native *self, PyObject *const *arguments, Py_ssize_t given)
{
    if (given != 2) {
        PyErr_SetString(PyExc_TypeError, "receive(descriptor, limit)");
        return NULL;
    }
    long descriptor = PyLong_AsLong(arguments[0]), limit = PyLong_AsLong(arguments[1]);
    if (PyErr_Occurred())
        return NULL;
    if (limit > SLOTS)
        limit = SLOTS;
    int count;
    self->drops = -1;
    Py_BEGIN_ALLOW_THREADS
    count = recvmmsg((int)descriptor, self->in, (unsigned int)limit, 0, NULL);
    Py_END_ALLOW_THREADS
    if (count < 0)
        return PyLong_FromLong(errno);
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
    memcpy(&self->names_out[slot].sin6_flowinfo, bytes, NAME_REST);
    memcpy(self->controls_out[slot].bytes, bytes + NAME_REST, control);
    self->out[slot].msg_hdr.msg_controllen = control;
    self->iov_out[slot].iov_base = PyBytes_AS_STRING(payload);
    self->iov_out[slot].iov_len = (size_t)PyBytes_GET_SIZE(payload);
    Py_DECREF(encoded);
    return 0;
}

PyDoc_STRVAR(send_doc, "send(descriptor, messages, start, routes, encode) -> how many from there on went, or minus an errno.");

static PyObject *native_send(Native *self, PyObject *const *arguments, Py_ssize_t given)
{
    if (given != 5 || !PyDict_Check(arguments[3])) {
        PyErr_SetString(PyExc_TypeError, "send(descriptor, messages, start, routes, encode)");
        return NULL;
    }
    long descriptor = PyLong_AsLong(arguments[0]), start = PyLong_AsLong(arguments[2]);
    if (PyErr_Occurred())
        return NULL;
    /* A tuple of its own keeps the payloads alive, whatever becomes of the caller's list meanwhile. */
    PyObject *messages = PySequence_Tuple(arguments[1]);
    if (messages == NULL)
        return NULL;
    int filled = 0, sent = 0;
    for (; filled < SLOTS && start + filled < PyTuple_GET_SIZE(messages); filled++)
        if (fill(self, filled, PyTuple_GET_ITEM(messages, start + filled), arguments[3], arguments[4]) != 0) {
            if (filled == 0) {
                Py_DECREF(messages);
                return NULL;
            }
            PyErr_Clear(); /* those before it go, and the next call meets it again */
            break;
        }
    Py_BEGIN_ALLOW_THREADS
    sent = sendmmsg((int)descriptor, self->out, (unsigned int)filled, 0);
    Py_END_ALLOW_THREADS
    if (sent < 0)
        sent = -errno;
    Py_DECREF(messages);
    return PyLong_FromLong(sent);
}

static PyMethodDef native_methods[] = {
    {"receive", (PyCFunction)(void (*)(void))native_receive, METH_FASTCALL, receive_doc},
    {"send", (PyCFunction)(void (*)(void))native_send, METH_FASTCALL, send_doc},
    {NULL},
};

static PyMemberDef native_members[] = {
    {"drops", T_LONGLONG, offsetof(Native, drops), READONLY, "The drop counter that the last call was told; -1: none."},
    {NULL},
};

static PyTypeObject native_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "responder.net._linux_native.Native",
    .tp_basicsize = sizeof(Native),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "The memory that the two calls work in.  For one thread; its sockets may share it.",
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)native_init,
    .tp_dealloc = (destructor)native_dealloc,
    .tp_methods = native_methods,
    .tp_members = native_members,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_linux_native",
    .m_doc = "Many datagrams a system call.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__linux_native(void)
{
    PyObject *made;
    if (PyType_Ready(&native_type) < 0 || (made = PyModule_Create(&module)) == NULL)
        return NULL;
    Py_INCREF(&native_type);
    if (PyModule_AddObject(made, "Native", (PyObject *)&native_type) < 0) {
        Py_DECREF(&native_type);
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
