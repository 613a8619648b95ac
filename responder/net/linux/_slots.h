/* What the compiled modules have in common: the slots of objects whose classes are Python's (`__slots__`).

   It refuses to know which classes and slots these are. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#ifdef Py_GIL_DISABLED
#error "not for a free-threaded Python: between two calls into Python, nothing but the GIL keeps others out"
#endif

#define SLOT_AT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

/* Where the slot `name` is in an object of that kind; -1 with an exception where it has no such slot. */
static inline int slot_offset(PyTypeObject *kind, const char *name, Py_ssize_t *offset)
{
    PyObject *found = PyObject_GetAttrString((PyObject *)kind, name);
    if (found == NULL)
        return -1;
    /* Not any descriptor: one that another class lent says where something is in that class's objects. */
    int is_slot = Py_IS_TYPE(found, &PyMemberDescr_Type) && PyType_IsSubtype(kind, PyDescr_TYPE(found)) &&
                  ((PyMemberDescrObject *)found)->d_member->type == T_OBJECT_EX;
    if (is_slot)
        *offset = ((PyMemberDescrObject *)found)->d_member->offset;
    else
        PyErr_Format(PyExc_TypeError, "%s.%s is no slot", kind->tp_name, name);
    Py_DECREF(found);
    return is_slot ? 0 : -1;
}
