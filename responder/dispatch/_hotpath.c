/* The usual case of Port._answers (dispatch.py) without an interpreter between one handler's call and the next: optional.

   It does what the Python there does, step by step, and the same tests hold both; whatever is not usual is the port's.
   It refuses to decide anything: flows and takers say it.

   A handler may do anything while it is asked: forget the flows, set or delete slots, change the burst, call `answers`
   again.  So what is used after a call into Python is held by a reference of its own. */

#include "../net/linux/_slots.h"

#include <time.h>

typedef struct {
    PyTypeObject *received, *flow, *taker, *binding;
    PyObject *answered;
    Py_ssize_t path, peer_port, truncated, origin;         /* of Received */
    Py_ssize_t from_own, plain_taker;                       /* of Flow; `plain_taker` is its `plain` */
    Py_ssize_t route, tally, plain, respond, from, asked;   /* of Taker; `from` is its `origin`, `asked` its `binding` */
    Py_ssize_t notable;                                     /* of Binding */
} Places;

/* One for the process, as these classes are: whatever other interpreters there are share it. */
static Places the;

static struct {
    PyObject *missed, *unusual, *other, *failed, *note, *note_short;
} method;

#define SLOT(object, name) SLOT_AT(object, the.name)

/* A new reference to what a slot holds; NULL with an exception where it is empty. */
static PyObject *held(PyObject *object, Py_ssize_t offset)
{
    PyObject *value = SLOT_AT(object, offset);
    if (value == NULL)
        PyErr_Format(PyExc_AttributeError, "a slot of %s is empty", Py_TYPE(object)->tp_name);
    Py_XINCREF(value);
    return value;
}

/* Whether its slots are where we look for them; an exception where not. */
static int is_a(PyObject *object, PyTypeObject *kind)
{
    if (PyObject_TypeCheck(object, kind))
        return 1;
    PyErr_Format(PyExc_TypeError, "expected %s, got %s", kind->tp_name, Py_TYPE(object)->tp_name);
    return 0;
}

PyDoc_STRVAR(setup_doc, "setup(Received, Flow, Taker, Binding, outcome): where the slots are, and what to count a plain answer as.");

static PyObject *setup(PyObject *module, PyObject *arguments)
{
    Places found, before = the;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O!O!O!O!U", &PyType_Type, &found.received, &PyType_Type, &found.flow, &PyType_Type,
                          &found.taker, &PyType_Type, &found.binding, &found.answered))
        return NULL;
    if (slot_offset(found.received, "path", &found.path) || slot_offset(found.received, "peer_port", &found.peer_port) ||
        slot_offset(found.received, "truncated", &found.truncated) ||
        slot_offset(found.received, "origin", &found.origin) || slot_offset(found.flow, "from_own", &found.from_own) ||
        slot_offset(found.flow, "plain", &found.plain_taker) || slot_offset(found.taker, "binding", &found.asked) ||
        slot_offset(found.taker, "route", &found.route) || slot_offset(found.taker, "tally", &found.tally) ||
        slot_offset(found.taker, "plain", &found.plain) || slot_offset(found.taker, "respond", &found.respond) ||
        slot_offset(found.taker, "origin", &found.from) || slot_offset(found.binding, "notable", &found.notable))
        return NULL;
    Py_INCREF(found.received);
    Py_INCREF(found.flow);
    Py_INCREF(found.taker);
    Py_INCREF(found.binding);
    Py_INCREF(found.answered);
    the = found;
    Py_XDECREF(before.received);
    Py_XDECREF(before.flow);
    Py_XDECREF(before.taker);
    Py_XDECREF(before.binding);
    Py_XDECREF(before.answered);
    Py_RETURN_NONE;
}

static double now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

/* A run: datagrams one after the other, of one instance, each too quick to be told apart from the others. */
typedef struct {
    PyObject *binding; /* a reference of its own */
    long asked;
    double spent;
} Run;

static int end_run(Run *run)
{
    PyObject *binding = run->binding;
    if (binding == NULL)
        return 0;
    run->binding = NULL;
    PyObject *asked = PyLong_FromLong(run->asked), *spent = PyFloat_FromDouble(run->spent), *done = NULL;
    if (asked != NULL && spent != NULL)
        done = PyObject_CallMethodObjArgs(binding, method.note_short, asked, spent, NULL);
    Py_XDECREF(asked);
    Py_XDECREF(spent);
    Py_XDECREF(done);
    Py_DECREF(binding);
    return done == NULL ? -1 : 0;
}

static int note(Run *run, PyObject *binding, double took)
{
    double bound = PyFloat_AsDouble(SLOT(binding, notable));
    if (bound == -1.0 && PyErr_Occurred())
        return -1;
    if (took > bound) {
        PyObject *seconds = PyFloat_FromDouble(took);
        PyObject *done = seconds == NULL ? NULL : PyObject_CallMethodOneArg(binding, method.note, seconds);
        Py_XDECREF(seconds);
        Py_XDECREF(done);
        return done == NULL ? -1 : 0;
    }
    if (run->binding != binding) {
        if (end_run(run) != 0)
            return -1;
        Py_INCREF(binding);
        *run = (Run){binding, 0, 0.0};
    }
    run->asked++;
    run->spent += took;
    return 0;
}

static int count_answered(PyObject *tally)
{
    PyObject *before = PyDict_GetItemWithError(tally, the.answered); /* SystemError for what is no dict */
    if (before == NULL && PyErr_Occurred())
        return -1;
    long long count = before == NULL ? 0 : PyLong_AsLongLong(before);
    if (count == -1 && PyErr_Occurred())
        return -1;
    PyObject *after = PyLong_FromLongLong(count + 1);
    int failed = after == NULL || PyDict_SetItem(tally, the.answered, after) != 0;
    Py_XDECREF(after);
    return failed ? -1 : 0;
}

/* 1: not usual; 0: its taker is to be asked; -1: an exception. */
static int is_unusual(PyObject *received, PyObject *flow, PyObject *taker, PyObject *peer_port, PyObject *own_numbers)
{
    if (taker == Py_None || SLOT(received, truncated) != Py_False)
        return 1;
    long number = PyLong_AsLong(peer_port);
    if (number == 0)
        return 1;
    if (number == -1 && PyErr_Occurred())
        return -1;
    return SLOT(flow, from_own) == Py_False ? 0 : PySequence_Contains(own_numbers, peer_port);
}

/* 1: bytes that need no look at the bounds; 0: something else; -1: an exception. */
static int is_plain(PyObject *answer, PyObject *taker)
{
    if (!PyBytes_CheckExact(answer))
        return 0;
    Py_ssize_t most = PyLong_AsSsize_t(SLOT(taker, plain));
    if (most == -1 && PyErr_Occurred())
        return -1;
    return PyBytes_GET_SIZE(answer) <= most;
}

static int queue(PyObject *answer, PyObject *taker, PyObject *peer_port, PyObject *messages, PyObject *tallies)
{
    PyObject *route = held(taker, the.route), *tally = held(taker, the.tally), *message = NULL;
    int failed = route == NULL || tally == NULL || count_answered(tally) != 0 ||
                 (message = PyTuple_Pack(3, answer, route, peer_port)) == NULL ||
                 PyList_Append(messages, message) != 0 || PyList_Append(tallies, tally) != 0;
    Py_XDECREF(route);
    Py_XDECREF(tally);
    Py_XDECREF(message);
    return failed ? -1 : 0;
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
    Py_XDECREF(kind);
    Py_XDECREF(trace);
    return value;
#endif
}

static int call(PyObject *done)
{
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int tell_failed(PyObject *port, PyObject *flow, PyObject *received, PyObject *taker)
{
    PyObject *error = raised();
    int result = call(PyObject_CallMethodObjArgs(port, method.failed, flow, received, taker, error, NULL));
    Py_XDECREF(error);
    return result;
}

static int ask(PyObject *port, PyObject *flow, PyObject *received, PyObject *taker, PyObject *peer_port,
               PyObject *messages, PyObject *tallies, Run *run)
{
    PyObject *binding = held(taker, the.asked), *respond = held(taker, the.respond), *origin = held(taker, the.from);
    PyObject *answer = NULL;
    int result = -1;
    if (binding != NULL && respond != NULL && origin != NULL && is_a(binding, the.binding)) {
        Py_INCREF(origin);
        Py_XSETREF(SLOT(received, origin), origin);
        double began = now();
        answer = PyObject_CallOneArg(respond, received);
        double took = now() - began;
        result = answer == NULL ? tell_failed(port, flow, received, taker) : 0;
        if (result == 0)
            result = note(run, binding, took);
    }
    if (result == 0 && answer != NULL) {
        result = is_plain(answer, taker);
        if (result == 1)
            result = queue(answer, taker, peer_port, messages, tallies);
        else if (result == 0)
            result = call(PyObject_CallMethodObjArgs(port, method.other, flow, received, answer, messages, tallies, NULL));
    }
    Py_XDECREF(answer);
    Py_XDECREF(origin);
    Py_XDECREF(respond);
    Py_XDECREF(binding);
    return result;
}

/* A new reference to the flow of a datagram; NULL with an exception. */
static PyObject *flow_of(PyObject *port, PyObject *received, PyObject *known)
{
    PyObject *path = held(received, the.path);
    if (path == NULL)
        return NULL;
    PyObject *flow = PyDict_GetItemWithError(known, path);
    Py_XINCREF(flow);
    if (flow == NULL && !PyErr_Occurred())
        flow = PyObject_CallMethodOneArg(port, method.missed, path);
    Py_DECREF(path);
    if (flow != NULL && !is_a(flow, the.flow))
        Py_CLEAR(flow);
    return flow;
}

static int one(PyObject *port, PyObject *received, PyObject *known, PyObject *own_numbers, PyObject *messages,
               PyObject *tallies, Run *run)
{
    PyObject *flow = flow_of(port, received, known);
    if (flow == NULL)
        return -1;
    PyObject *taker = held(flow, the.plain_taker), *peer_port = held(received, the.peer_port);
    int result = -1;
    if (taker != NULL && peer_port != NULL)
        result = is_unusual(received, flow, taker, peer_port, own_numbers);
    if (result == 1)
        result = call(PyObject_CallMethodObjArgs(port, method.unusual, flow, received, messages, tallies, NULL));
    else if (result == 0)
        result = is_a(taker, the.taker) ? ask(port, flow, received, taker, peer_port, messages, tallies, run) : -1;
    Py_XDECREF(peer_port);
    Py_XDECREF(taker);
    Py_DECREF(flow);
    return result;
}

PyDoc_STRVAR(answers_doc, "answers(port, burst, flows, own_numbers) -> (messages, tallies): see Port._answers.");

static PyObject *answers(PyObject *module, PyObject *const *given, Py_ssize_t count)
{
    (void)module;
    if (count != 4 || the.received == NULL || !PyDict_Check(given[2])) {
        PyErr_SetString(PyExc_TypeError, "answers(port, burst, flows, own_numbers), after setup");
        return NULL;
    }
    PyObject *burst = PySequence_Fast(given[1], "a burst is a sequence");
    PyObject *messages = PyList_New(0), *tallies = PyList_New(0);
    int failed = burst == NULL || messages == NULL || tallies == NULL;
    Run run = {NULL, 0, 0.0};
    /* The burst may be the caller's own list, and shorter after each call. */
    for (Py_ssize_t at = 0; !failed && at < PySequence_Fast_GET_SIZE(burst); at++) {
        PyObject *received = PySequence_Fast_GET_ITEM(burst, at);
        Py_INCREF(received);
        failed = !is_a(received, the.received) ||
                 one(given[0], received, given[2], given[3], messages, tallies, &run) != 0;
        Py_DECREF(received);
    }
    if (!failed)
        failed = end_run(&run) != 0;
    Py_XDECREF(run.binding);
    PyObject *both = failed ? NULL : PyTuple_Pack(2, messages, tallies);
    Py_XDECREF(burst);
    Py_XDECREF(messages);
    Py_XDECREF(tallies);
    return both;
}

static PyMethodDef methods[] = {
    {"setup", setup, METH_VARARGS, setup_doc},
    {"answers", (PyCFunction)(void (*)(void))answers, METH_FASTCALL, answers_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_hotpath",
    .m_doc = "The usual case of Port._answers.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__hotpath(void)
{
    method.missed = PyUnicode_InternFromString("_missed");
    method.unusual = PyUnicode_InternFromString("_unusual");
    method.other = PyUnicode_InternFromString("_other");
    method.failed = PyUnicode_InternFromString("_failed");
    method.note = PyUnicode_InternFromString("note");
    method.note_short = PyUnicode_InternFromString("note_short");
    if (!method.missed || !method.unusual || !method.other || !method.failed || !method.note || !method.note_short)
        return NULL;
    return PyModule_Create(&module);
}
