/* The usual case of Port._answers (dispatch.py) without an interpreter between one handler's call and the next: optional.

   It does what the Python there does, step by step, and the same tests hold both; whatever is not usual is the port's.
   It refuses to decide anything: flows and takers say it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>
#include <time.h>

static struct {
    Py_ssize_t path, peer_port, truncated, origin;         /* of Received */
    Py_ssize_t from_own, plain_taker;                       /* of Flow */
    Py_ssize_t binding, route, tally, plain, respond, from; /* of Taker; `from` is its `origin` */
    Py_ssize_t notable;                                     /* of Binding */
    PyTypeObject *received;
    PyObject *answered, *missed, *unusual, *other, *failed, *note, *note_short;
} the;

#define SLOT(object, name) (*(PyObject **)((char *)(object) + the.name))

static int slot_of(PyObject *kind, const char *name, Py_ssize_t *offset)
{
    PyObject *found = PyObject_GetAttrString(kind, name);
    if (found == NULL)
        return -1;
    int is_slot = Py_IS_TYPE(found, &PyMemberDescr_Type);
    if (is_slot)
        *offset = ((PyMemberDescrObject *)found)->d_member->offset;
    else
        PyErr_Format(PyExc_TypeError, "%s is no slot", name);
    Py_DECREF(found);
    return is_slot ? 0 : -1;
}

PyDoc_STRVAR(setup_doc, "setup(Received, Flow, Taker, Binding, outcome): where the slots are, and what to count a plain answer as.");

static PyObject *setup(PyObject *module, PyObject *arguments)
{
    PyObject *received, *flow, *taker, *binding, *answered;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O!OOOU", &PyType_Type, &received, &flow, &taker, &binding, &answered))
        return NULL;
    if (slot_of(received, "path", &the.path) || slot_of(received, "peer_port", &the.peer_port) ||
        slot_of(received, "truncated", &the.truncated) || slot_of(received, "origin", &the.origin) ||
        slot_of(flow, "from_own", &the.from_own) || slot_of(flow, "plain", &the.plain_taker) ||
        slot_of(taker, "binding", &the.binding) || slot_of(taker, "route", &the.route) ||
        slot_of(taker, "tally", &the.tally) || slot_of(taker, "plain", &the.plain) ||
        slot_of(taker, "respond", &the.respond) || slot_of(taker, "origin", &the.from) ||
        slot_of(binding, "notable", &the.notable))
        return NULL;
    Py_INCREF(received);
    Py_XSETREF(the.received, (PyTypeObject *)received);
    Py_INCREF(answered);
    Py_XSETREF(the.answered, answered);
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
        done = PyObject_CallMethodObjArgs(binding, the.note_short, asked, spent, NULL);
    Py_XDECREF(asked);
    Py_XDECREF(spent);
    Py_XDECREF(done);
    Py_DECREF(binding);
    return done == NULL ? -1 : 0;
}

static int note(Run *run, PyObject *binding, double took)
{
    PyObject *notable = SLOT(binding, notable);
    double bound = notable == NULL ? 0.0 : PyFloat_AsDouble(notable);
    if (bound == -1.0 && PyErr_Occurred())
        return -1;
    if (took > bound) {
        PyObject *seconds = PyFloat_FromDouble(took);
        PyObject *done = seconds == NULL ? NULL : PyObject_CallMethodObjArgs(binding, the.note, seconds, NULL);
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
    PyObject *before = PyDict_GetItemWithError(tally, the.answered);
    if (before == NULL && PyErr_Occurred())
        return -1;
    PyObject *after = PyLong_FromLongLong((before == NULL ? 0 : PyLong_AsLongLong(before)) + 1);
    int failed = after == NULL || PyErr_Occurred() || PyDict_SetItem(tally, the.answered, after) != 0;
    Py_XDECREF(after);
    return failed ? -1 : 0;
}

/* 1: not usual; 0: this taker (borrowed) is to be asked; -1: an exception. */
static int is_unusual(PyObject *received, PyObject *flow, PyObject *own_numbers, PyObject **taker)
{
    PyObject *port = SLOT(received, peer_port);
    *taker = SLOT(flow, plain_taker);
    if (*taker == Py_None || SLOT(received, truncated) != Py_False || PyLong_AsLong(port) == 0)
        return 1;
    return SLOT(flow, from_own) == Py_True ? PySet_Contains(own_numbers, port) : 0;
}

static int is_plain(PyObject *answer, PyObject *taker)
{
    return PyBytes_CheckExact(answer) && PyBytes_GET_SIZE(answer) <= PyLong_AsSsize_t(SLOT(taker, plain));
}

static int queue(PyObject *answer, PyObject *received, PyObject *taker, PyObject *messages, PyObject *tallies)
{
    PyObject *tally = SLOT(taker, tally);
    if (count_answered(tally) != 0)
        return -1;
    PyObject *message = PyTuple_Pack(3, answer, SLOT(taker, route), SLOT(received, peer_port));
    int failed = message == NULL || PyList_Append(messages, message) != 0 || PyList_Append(tallies, tally) != 0;
    Py_XDECREF(message);
    return failed ? -1 : 0;
}

/* What was raised, as an object; the exception is no longer set. */
static PyObject *raised(void)
{
    PyObject *kind, *value, *trace;
    PyErr_Fetch(&kind, &value, &trace);
    PyErr_NormalizeException(&kind, &value, &trace);
    if (trace != NULL)
        PyException_SetTraceback(value, trace);
    Py_XDECREF(kind);
    Py_XDECREF(trace);
    return value;
}

static int call(PyObject *done)
{
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

static int one(PyObject *port, PyObject *received, PyObject *known, PyObject *own_numbers, PyObject *messages,
               PyObject *tallies, Run *run)
{
    PyObject *path = SLOT(received, path), *taker;
    PyObject *flow = PyDict_GetItemWithError(known, path);
    if (flow != NULL)
        Py_INCREF(flow);
    else if (PyErr_Occurred() || (flow = PyObject_CallMethodOneArg(port, the.missed, path)) == NULL)
        return -1;
    int result = is_unusual(received, flow, own_numbers, &taker);
    if (result == 1)
        result = call(PyObject_CallMethodObjArgs(port, the.unusual, flow, received, messages, tallies, NULL));
    else if (result == 0) {
        Py_INCREF(taker); /* the flow may be forgotten while its handler answers */
        PyObject *origin = SLOT(taker, from);
        Py_INCREF(origin);
        Py_XSETREF(SLOT(received, origin), origin);
        double began = now();
        PyObject *answer = PyObject_CallOneArg(SLOT(taker, respond), received);
        double took = now() - began;
        if (answer == NULL) {
            PyObject *error = raised();
            result = call(PyObject_CallMethodObjArgs(port, the.failed, flow, received, taker, error, NULL));
            Py_XDECREF(error);
        }
        if (result == 0)
            result = note(run, SLOT(taker, binding), took);
        if (result == 0 && answer != NULL)
            result = is_plain(answer, taker)
                         ? queue(answer, received, taker, messages, tallies)
                         : call(PyObject_CallMethodObjArgs(port, the.other, flow, received, answer, messages, tallies, NULL));
        Py_XDECREF(answer);
        Py_DECREF(taker);
    }
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
    for (Py_ssize_t at = 0; !failed && at < PySequence_Fast_GET_SIZE(burst); at++) {
        PyObject *received = PySequence_Fast_GET_ITEM(burst, at);
        if (!PyType_IsSubtype(Py_TYPE(received), the.received)) {
            PyErr_SetString(PyExc_TypeError, "expected Received");
            failed = 1;
        } else
            failed = one(given[0], received, given[2], given[3], messages, tallies, &run) != 0;
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
    {NULL},
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
    the.missed = PyUnicode_InternFromString("_missed");
    the.unusual = PyUnicode_InternFromString("_unusual");
    the.other = PyUnicode_InternFromString("_other");
    the.failed = PyUnicode_InternFromString("_failed");
    the.note = PyUnicode_InternFromString("note");
    the.note_short = PyUnicode_InternFromString("note_short");
    if (!the.missed || !the.unusual || !the.other || !the.failed || !the.note || !the.note_short)
        return NULL;
    return PyModule_Create(&module);
}
