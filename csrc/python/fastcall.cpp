#include "fastcall.hpp"

namespace rnnfast {

void place_arguments(const Given& given, const char* function, const char* const* names,
                     std::size_t count, std::size_t required, py::handle* places) {
  const auto positional = static_cast<std::size_t>(given.positional);
  if (positional > count)
    fail_type(std::string(function) + " takes " + std::to_string(count) + " arguments, got " +
              std::to_string(positional));
  for (std::size_t i = 0; i < positional; ++i) places[i] = given.values[i];
  const Py_ssize_t named = given.keywords == nullptr ? 0 : PyTuple_GET_SIZE(given.keywords);
  for (Py_ssize_t k = 0; k < named; ++k) {
    const py::handle name = PyTuple_GET_ITEM(given.keywords, k);
    std::size_t at = 0;
    while (at < count && PyUnicode_CompareWithASCIIString(name.ptr(), names[at]) != 0) ++at;
    if (at == count || at < positional)
      fail_type(std::string(function) + " got " + (at == count ? "an unexpected argument '" : "'") +
                std::string(py::str(name)) + (at == count ? "'" : "' twice"));
    places[at] = given.values[positional + static_cast<std::size_t>(k)];
  }
  for (std::size_t i = positional; i < required; ++i)
    if (!places[i]) fail_type(std::string(function) + " is missing its argument " + names[i]);
}

void set_error() noexcept {
  try {
    throw;
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "an unknown error");
  }
}

void define_fastcall(py::module_& m, PyMethodDef& method) {
  PyObject* const function = PyCFunction_NewEx(&method, nullptr, m.attr("__name__").ptr());
  if (function == nullptr) throw py::error_already_set();
  m.attr(method.ml_name) = py::reinterpret_steal<py::object>(function);
}

}  // namespace rnnfast
