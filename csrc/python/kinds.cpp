#include "kinds.hpp"

#include <pybind11/gil_safe_call_once.h>

namespace rnnfast {
namespace {

[[noreturn]] void fail_kind(py::handle object, const char* name, const char* expected) {
  fail_type(std::string(name) + " is a " + describe(object) + ", expected " + expected);
}

// NumPy's scalars are known by their types: names and abilities differ between its versions.
struct NumpyTypes {
  py::object boolean = py::module_::import("numpy").attr("bool_");
  py::object floating = py::module_::import("numpy").attr("floating");
};
const NumpyTypes& numpy() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<NumpyTypes> types;
  return types.call_once_and_store_result([] { return NumpyTypes(); }).get_stored();
}

}  // namespace

bool is_boolean(py::handle object) {
  return PyBool_Check(object.ptr()) || py::isinstance(object, numpy().boolean);
}

bool truth(py::handle object, const char* name) {
  if (object.ptr() == Py_True) return true;
  if (object.ptr() == Py_False) return false;
  if (!is_boolean(object)) fail_kind(object, name, "True or False");
  return PyObject_IsTrue(object.ptr()) == 1;
}

idx clipped(py::handle object) {
  const idx n = PyNumber_AsSsize_t(object.ptr(), nullptr);
  if (n == -1 && PyErr_Occurred()) throw py::error_already_set();
  return n;
}

bool is_integer(py::handle object) {
  if (PyLong_CheckExact(object.ptr())) return true;
  return PyIndex_Check(object.ptr()) && !is_boolean(object) && !py::isinstance<py::array>(object);
}

idx integer(py::handle object, const char* name) {
  if (!is_integer(object)) fail_kind(object, name, "an integer");
  return clipped(object);
}

double real(py::handle object, const char* name) {
  if (PyFloat_CheckExact(object.ptr())) return PyFloat_AS_DOUBLE(object.ptr());
  if (!is_integer(object) && !PyFloat_Check(object.ptr()) &&
      !py::isinstance(object, numpy().floating))
    fail_kind(object, name, "a number");
  const double x = PyFloat_AsDouble(object.ptr());
  if (x == -1 && PyErr_Occurred()) throw py::error_already_set();
  return x;
}

bool is_iterable(py::handle object) {
  // a 0-dimensional array has the attribute, but nothing to give
  if (py::isinstance<py::array>(object))
    return py::reinterpret_borrow<py::array>(object).ndim() > 0;
  return PyObject_HasAttrString(object.ptr(), "__iter__") == 1;
}

std::string text(py::handle object, const char* name) {
  if (!PyUnicode_Check(object.ptr())) fail_kind(object, name, "a str");
  Py_ssize_t size;
  const char* const characters = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
  if (characters == nullptr) throw py::error_already_set();
  return {characters, static_cast<std::size_t>(size)};
}

}  // namespace rnnfast
