// Arguments that are no arrays: taken as handles and checked here, since pybind11 answers a wrong
// kind with all arguments printed. Each is a TypeError that says what came.
#pragma once
#include <string>

#include "arrays.hpp"

namespace rnnfast {

// True, False or their NumPy scalars.
bool is_boolean(py::handle object);
bool truth(py::handle object, const char* name);

// An integer, not a boolean; what does not fit becomes the nearest that does.
bool is_integer(py::handle object);
idx integer(py::handle object, const char* name);
idx clipped(py::handle object);  // of what is known to be one

// A number: Python's or NumPy's, not a boolean and not an array.
double real(py::handle object, const char* name);

bool is_iterable(py::handle object);
std::string text(py::handle object, const char* name);

}  // namespace rnnfast
