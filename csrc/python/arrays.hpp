// NumPy arrays at the border: what is checked, how it is said, and what the kernels then see.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <initializer_list>
#include <new>
#include <string>
#include <vector>

#include "../blocks.hpp"
#include "../kernels.hpp"

namespace rnnfast {

namespace py = pybind11;

[[noreturn]] void fail_type(const std::string& message);
[[noreturn]] void fail_value(const std::string& message);

// "(2, 3)", and "ndarray of dtype int64" or a type's name.
std::string shape_text(const std::vector<idx>& shape);
std::string describe(py::handle object);
// "lstm" of "lstm_peephole": what a user calls a cell.
std::string family(const std::string& cell);

// An axis: what it is called and how long it must be; any length where `size` is -1.
struct Axis {
  const char* name;
  idx size;
};

// The shape that an array must have.
using Shape = std::initializer_list<Axis>;

enum class Precision { f32, f64 };
template <class R>
constexpr Precision precision_of = sizeof(R) == 4 ? Precision::f32 : Precision::f64;

// The dtype of an array argument; TypeError unless it is a native float32 or float64 array.
Precision precision(py::handle object, const char* name);

// Whether an object is a native, aligned, C-contiguous array that needs no copy: with the checks of
// Arguments for what is not, this is all that a call in a hurry looks at.
bool is_plain(py::handle object, Precision precision, int axes);
// Whether two arrays share no memory.
bool apart(py::handle a, py::handle b);
// An array's data and the length of an axis.
void* plain_data(py::handle array);
idx plain_size(py::handle array, int axis);

// The arguments of one call. Every array must have the dtype of the first (`leader`); arrays that a
// kernel cannot read in place are copied, and the copies live as long as this object. Both names
// must too; that of a cell is said where a shape is wrong, unless it is null.
class Arguments {
 public:
  explicit Arguments(Precision precision, const char* leader, const char* cell = nullptr)
      : precision_(precision), leader_(leader), cell_(cell) {
    kept_.reserve(8);  // as many as most calls have
  }

  // A C-contiguous array of that shape.
  template <class R>
  const R* array(py::handle object, const char* name, Shape shape) {
    return static_cast<const R*>(data(object, name, shape, 0));
  }
  // The same, or null for None.
  template <class R>
  const R* optional(py::handle object, const char* name, Shape shape) {
    return object.is_none() ? nullptr : array<R>(object, name, shape);
  }
  // An array whose rows (last axis) are contiguous; its other strides, in elements, go to `steps`.
  template <class R>
  const R* rows(py::handle object, const char* name, Shape shape, idx* t_step, idx* b_step) {
    const void* p = data(object, name, shape, 2);
    *t_step = stride(0);
    *b_step = stride(1);
    return static_cast<const R*>(p);
  }

  // Checks dtype and shape only.
  void check(py::handle object, const char* name, Shape shape) const;

  // Keeps an object alive as long as the arguments.
  void keep(py::object object) { kept_.push_back(std::move(object)); }
  const std::vector<py::object>& kept() const { return kept_; }

 private:
  const void* data(py::handle object, const char* name, Shape shape, int contiguous_from);
  idx stride(int axis) const;

  Precision precision_;
  const char *leader_, *cell_;
  std::vector<py::object> kept_;
};

// A new C-contiguous array. Throws std::bad_alloc if its size is beyond all memory.
py::array new_array(Precision precision, const idx* shape, int axes);
template <class R>
py::array_t<R> new_array(std::initializer_list<idx> shape) {
  const int axes = static_cast<int>(shape.size());
  return py::reinterpret_steal<py::array_t<R>>(
      new_array(precision_of<R>, shape.begin(), axes).release());
}

// Where a result goes: a new array, or `out` itself, or memory that `finish` copies to `out`
// because the kernel cannot write there (strides, alignment) or must not (it overlaps an argument).
class Output {
 public:
  template <class R>
  static Output make(py::handle out, const char* name, Shape shape, const Arguments& arguments);
  py::object finish();  // what the caller gets
  void* data() const { return plain_data(array_); }
  template <class R>
  idx step(int axis) const;  // in elements

 private:
  py::object array_;
  py::object target_;  // the caller's array when array_ is not
};

// Lengths of the sequences of a batch: empty for None.
std::vector<idx> parse_lengths(py::handle object, idx T, idx B);

}  // namespace rnnfast
