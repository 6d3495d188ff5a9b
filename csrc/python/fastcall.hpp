// Functions that Python calls with METH_FASTCALL: pybind11's dispatch takes longer than a small
// call of a kernel.
#pragma once
#include <array>

#include "arrays.hpp"

namespace rnnfast {

// The name of a function and of its arguments, the first `required` of which must be given.
template <std::size_t N>
struct Signature {
  const char* function;
  std::size_t required;
  std::array<const char*, N> names;
};

// The arguments as METH_FASTCALL | METH_KEYWORDS hands them over.
struct Given {
  PyObject* const* values;
  Py_ssize_t positional;
  PyObject* keywords;  // null or a tuple of names, whose values come after the positional ones
};

// Puts each argument in its place, and leaves the place of one that is absent as it is. TypeError
// for one too many, a name that is none, or one that is missing.
void place_arguments(const Given& given, const char* function, const char* const* names,
                     std::size_t count, std::size_t required, py::handle* places);

template <std::size_t N>
void place_arguments(const Given& given, const Signature<N>& signature,
                     std::array<py::handle, N>& places) {
  place_arguments(given, signature.function, signature.names.data(), N, signature.required,
                  places.data());
}

// Sets Python's error from the exception being handled.
void set_error() noexcept;

// What f() returns, a py::object, for Python; or its exception as Python's error.
template <class F>
PyObject* for_python(F&& f) noexcept {
  try {
    return f().release().ptr();
  } catch (...) {
    set_error();
    return nullptr;
  }
}

using Fastcall = PyObject* (*)(PyObject* self, PyObject* const* values, Py_ssize_t positional,
                               PyObject* keywords);
// `doc` begins with the signature, as inspect reads it: "name(x, y=None)\n--\n\n".
inline PyMethodDef fastcall_method(const char* name, Fastcall function, const char* doc) {
  return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(function)),
          METH_FASTCALL | METH_KEYWORDS, doc};
}

// Makes a function of the module; `method` lives as long as the module.
void define_fastcall(py::module_& m, PyMethodDef& method);

}  // namespace rnnfast
