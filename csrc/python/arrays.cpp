#include "arrays.hpp"

#include <dlfcn.h>

#include <cstdint>
#include <memory>

#include "kinds.hpp"

namespace rnnfast {
namespace {

using py::detail::array_descriptor_proxy;
using py::detail::array_proxy;

constexpr int numpy_float32 = 11, numpy_float64 = 12;
constexpr int max_axes = 3;

bool is_array(py::handle object) { return py::isinstance<py::array>(object); }

std::string dtype_text(py::handle array) { return py::str(array.attr("dtype")); }

std::vector<idx> shape_of(py::handle object) {
  const auto* a = array_proxy(object.ptr());
  return {a->dimensions, a->dimensions + a->nd};
}

const char* dtype_name(Precision p) { return p == Precision::f32 ? "float32" : "float64"; }

void need_array(py::handle object, const char* name) {
  if (!is_array(object))
    fail_type(std::string(name) + " is a " + describe(object) + ", expected a numpy.ndarray");
}

bool native(py::handle array) {
  const char order = array_descriptor_proxy(array_proxy(array.ptr())->descr)->byteorder;
  return order == '=' || order == '|';
}

bool has_dtype(py::handle array, Precision p) {
  const int type = array_descriptor_proxy(array_proxy(array.ptr())->descr)->type_num;
  return type == (p == Precision::f32 ? numpy_float32 : numpy_float64) && native(array);
}

// What to do about an array of the other precision.
std::string conversion(py::handle array, Precision wanted) {
  const Precision other = wanted == Precision::f32 ? Precision::f64 : Precision::f32;
  if (!has_dtype(array, other)) return "";
  return std::string(": convert it with .astype(\"") + dtype_name(wanted) + "\")";
}

bool aligned(py::handle array) {
  return (array_proxy(array.ptr())->flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
}

// The axes from `from` on lie as in a C-contiguous array, and every stride is whole elements.
bool contiguous_from(py::handle array, int from, idx item) {
  const auto* a = array_proxy(array.ptr());
  idx expected = item;
  for (int i = a->nd - 1; i >= 0; --i) {
    if (a->dimensions[i] != 1) {
      if (i >= from ? a->strides[i] != expected : a->strides[i] % item != 0) return false;
    }
    expected *= a->dimensions[i];
  }
  return true;
}

bool ready(py::handle array) {
  constexpr int flags =
      py::detail::npy_api::NPY_ARRAY_ALIGNED_ | py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_;
  return (array_proxy(array.ptr())->flags & flags) == flags;
}

// The bytes that an array's elements lie between.
std::pair<const char*, const char*> extent(py::handle array) {
  const auto* a = array_proxy(array.ptr());
  const char *low = a->data, *high = a->data;
  for (int i = 0; i < a->nd; ++i) {
    if (a->dimensions[i] == 0) return {low, low};
    const idx reach = (a->dimensions[i] - 1) * a->strides[i];
    (reach < 0 ? low : high) += reach;
  }
  return {low, high + py::reinterpret_borrow<py::array>(array).itemsize()};
}

}  // namespace

bool apart(py::handle a, py::handle b) {
  const auto [a_low, a_high] = extent(a);
  const auto [b_low, b_high] = extent(b);
  return a_high <= b_low || b_high <= a_low || a_low == a_high || b_low == b_high;
}

void fail_type(const std::string& message) { throw py::type_error(message); }
void fail_value(const std::string& message) { throw py::value_error(message); }

std::string shape_text(const std::vector<idx>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::string describe(py::handle object) {
  if (is_array(object)) return "ndarray of dtype " + dtype_text(object);
  if (object.is_none()) return "None";
  return py::str(py::type::handle_of(object).attr("__name__"));
}

std::string family(const std::string& cell) { return cell.substr(0, cell.find('_')); }

Precision precision(py::handle object, const char* name) {
  need_array(object, name);
  if (has_dtype(object, Precision::f32)) return Precision::f32;
  if (has_dtype(object, Precision::f64)) return Precision::f64;
  fail_type(std::string(name) + " has dtype " + dtype_text(object) +
            ", expected float32 or float64 in native byte order");
}

bool is_plain(py::handle object, Precision p, int axes) {
  if (!is_array(object)) return false;
  return array_proxy(object.ptr())->nd == axes && ready(object) && has_dtype(object, p);
}
void* plain_data(py::handle array) { return array_proxy(array.ptr())->data; }
idx plain_size(py::handle array, int axis) { return array_proxy(array.ptr())->dimensions[axis]; }

void Arguments::check(py::handle object, const char* name, Shape shape) const {
  need_array(object, name);
  if (!has_dtype(object, precision_))
    fail_type(std::string(name) + " has dtype " + dtype_text(object) + ", expected " +
              dtype_name(precision_) +
              (leader_ == std::string(name) ? "" : " as " + std::string(leader_) + " has") +
              conversion(object, precision_));
  const auto* a = array_proxy(object.ptr());
  bool right = a->nd == static_cast<int>(shape.size());
  for (std::size_t i = 0; right && i < shape.size(); ++i)
    right = shape.begin()[i].size < 0 || shape.begin()[i].size == a->dimensions[i];
  if (right) return;
  std::string names = "(";
  std::vector<idx> sizes;
  bool known = true;
  for (const Axis& axis : shape) {
    names += (sizes.empty() ? "" : ", ") + std::string(axis.name);
    known = known && axis.size >= 0;
    sizes.push_back(axis.size);
  }
  names += sizes.size() == 1 ? ",)" : ")";
  fail_value(std::string(name) + " has shape " + shape_text(shape_of(object)) + ", expected " +
             names + (known ? " = " + shape_text(sizes) : "") +
             (cell_ == nullptr ? "" : " for " + family(cell_)));
}

const void* Arguments::data(py::handle object, const char* name, Shape shape, int from) {
  check(object, name, shape);
  const idx item = precision_ == Precision::f32 ? 4 : 8;
  py::object array = py::reinterpret_borrow<py::object>(object);
  if (!ready(object) && !(aligned(object) && contiguous_from(object, from, item)))
    array = py::array::ensure(object.attr("copy")("C"));
  kept_.push_back(array);
  return array_proxy(array.ptr())->data;
}

idx Arguments::stride(int axis) const {
  return array_proxy(kept_.back().ptr())->strides[axis] / (precision_ == Precision::f32 ? 4 : 8);
}

namespace {

// What a large array stands in: a block that later calls use again. The system would give the pages
// of a fresh one at their first touch, which takes longer than many a kernel that fills them.
constexpr double least_block = 64 << 10;

// For tracemalloc, as NumPy does it. Looked up by name: the header of Python 3.11 does not say that
// these are functions of C.
constexpr unsigned traced_domain = 389047;
void trace(std::uintptr_t address, std::size_t bytes) {
  using Track = int (*)(unsigned, std::uintptr_t, std::size_t);
  static const auto track = reinterpret_cast<Track>(dlsym(RTLD_DEFAULT, "PyTraceMalloc_Track"));
  if (track != nullptr) track(traced_domain, address, bytes);
}
void untrace(std::uintptr_t address) {
  using Untrack = int (*)(unsigned, std::uintptr_t);
  static const auto untrack =
      reinterpret_cast<Untrack>(dlsym(RTLD_DEFAULT, "PyTraceMalloc_Untrack"));
  if (untrack != nullptr) untrack(traced_domain, address);
}

struct ArrayMemory {
  Memory memory;
  explicit ArrayMemory(std::size_t bytes) : memory(bytes) { trace(address(), bytes); }
  ~ArrayMemory() { untrace(address()); }
  ArrayMemory(const ArrayMemory&) = delete;
  ArrayMemory& operator=(const ArrayMemory&) = delete;

 private:
  std::uintptr_t address() const { return reinterpret_cast<std::uintptr_t>(memory.get()); }
};

}  // namespace

py::array new_array(Precision precision, const idx* shape, int axes) {
  double bytes = precision == Precision::f32 ? 4 : 8;
  for (int i = 0; i < axes; ++i) bytes *= static_cast<double>(shape[i]);
  if (bytes > 9e18) throw std::bad_alloc();
  const auto& numpy = py::detail::npy_api::get();
  const int type = precision == Precision::f32 ? numpy_float32 : numpy_float64;
  std::unique_ptr<ArrayMemory> block;
  if (bytes >= least_block) block = std::make_unique<ArrayMemory>(static_cast<std::size_t>(bytes));
  auto array = py::reinterpret_steal<py::array>(
      numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, numpy.PyArray_DescrFromType_(type), axes,
                                  shape, nullptr, block ? block->memory.get() : nullptr,
                                  block ? py::detail::npy_api::NPY_ARRAY_WRITEABLE_ : 0, nullptr));
  if (!array) throw py::error_already_set();
  if (!block) return array;
  const py::capsule owner(block.get(), [](void* p) { delete static_cast<ArrayMemory*>(p); });
  block.release();
  if (numpy.PyArray_SetBaseObject_(array.ptr(), owner.inc_ref().ptr()) < 0)
    throw py::error_already_set();
  return array;
}

template <class R>
Output Output::make(py::handle out, const char* name, Shape shape, const Arguments& arguments) {
  Output result;
  if (!out.is_none()) {
    arguments.check(out, name, shape);
    if (!py::reinterpret_borrow<py::array>(out).writeable())
      fail_value(std::string(name) + " is read-only, expected a writeable array");
    bool direct = aligned(out) && contiguous_from(out, 2, sizeof(R));
    for (const py::object& argument : arguments.kept()) direct = direct && apart(out, argument);
    if (direct) {
      result.array_ = py::reinterpret_borrow<py::object>(out);
      return result;
    }
    result.target_ = py::reinterpret_borrow<py::object>(out);
  }
  idx sizes[max_axes];
  for (std::size_t i = 0; i < shape.size(); ++i) sizes[i] = shape.begin()[i].size;
  result.array_ = new_array(precision_of<R>, sizes, static_cast<int>(shape.size()));
  return result;
}
template Output Output::make<float>(py::handle, const char*, Shape, const Arguments&);
template Output Output::make<double>(py::handle, const char*, Shape, const Arguments&);

py::object Output::finish() {
  if (!target_) return array_;
  target_[py::ellipsis()] = array_;
  return target_;
}

template <class R>
idx Output::step(int axis) const {
  return array_proxy(array_.ptr())->strides[axis] / static_cast<idx>(sizeof(R));
}
template idx Output::step<float>(int) const;
template idx Output::step<double>(int) const;

namespace {

[[noreturn]] void fail_length(std::size_t row, const std::string& came, idx T) {
  fail_value("lengths[" + std::to_string(row) + "] is " + came +
             ", expected 0 <= length <= T = " + std::to_string(T));
}

// The lengths in an array of idx.
std::vector<idx> read_lengths(const py::array_t<idx>& array, idx T) {
  const auto n = array.unchecked<1>();
  std::vector<idx> lengths(static_cast<std::size_t>(n.size()));
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    lengths[b] = n(static_cast<idx>(b));
    if (lengths[b] < 0 || lengths[b] > T) fail_length(b, std::to_string(lengths[b]), T);
  }
  return lengths;
}

}  // namespace

std::vector<idx> parse_lengths(py::handle object, idx T, idx B) {
  if (object.is_none()) return {};
  const bool array = is_array(object);
  if (!array && !PyList_Check(object.ptr()) && !PyTuple_Check(object.ptr()))
    fail_type("lengths is a " + describe(object) + ", expected a list or array of integers");
  if (array) {
    const char kind = array_descriptor_proxy(array_proxy(object.ptr())->descr)->kind;
    if (kind != 'i' && kind != 'u')
      fail_type("lengths has dtype " + dtype_text(object) + ", expected integers");
    const auto* a = array_proxy(object.ptr());
    if (a->nd != 1 || a->dimensions[0] != B)
      fail_value("lengths has shape " + shape_text(shape_of(object)) +
                 ", expected (B,) = " + shape_text({B}));
    if (aligned(object) && py::isinstance<py::array_t<idx>>(object))
      return read_lengths(py::reinterpret_borrow<py::array_t<idx>>(object), T);
  }
  std::vector<idx> lengths;
  for (py::handle item : object) {
    if (!array && !is_integer(item))  // says what it is
      integer(item, ("lengths[" + std::to_string(lengths.size()) + "]").c_str());
    const idx n = clipped(item);
    if (n < 0 || n > T) fail_length(lengths.size(), py::str(item), T);
    lengths.push_back(n);
  }
  if (static_cast<idx>(lengths.size()) != B)
    fail_value("lengths has " + std::to_string(lengths.size()) +
               " entries, expected B = " + std::to_string(B));
  return lengths;
}

}  // namespace rnnfast
