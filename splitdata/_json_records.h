/* What _json_records.c offers to the module in _speedups.c; _speedups.pyi says what it returns. */

#include <Python.h>

PyObject *json_records(PyObject *module, PyObject *args);
