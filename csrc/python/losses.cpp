// The cross-entropy of classes, and the rows of an embedding: what is read by numbers.
#include "call.hpp"
#include "kinds.hpp"

namespace rnnfast {
namespace {

// The numbers of an array of exactly this type and these axes, which needs no copy.
template <class T>
const T* plain_numbers(py::handle object, const char* name, idx n) {
  using Array = py::array_t<T, py::array::c_style>;
  if (!Array::check_(object) || py::reinterpret_borrow<py::array>(object).size() != n ||
      (py::reinterpret_borrow<py::array>(object).flags() &
       py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0)
    fail_type(std::string(name) + " is a " + describe(object) + ", expected " + std::to_string(n) +
              " contiguous numbers of " + std::string(py::str(py::dtype::of<T>())));
  return static_cast<const T*>(plain_data(object));
}

// Operations that take as long as exp, reading and writing for each logit, as a logarithm and
// divisions for each row, and as copying a number.
constexpr double logit_operations = 40, row_operations = 1500, copy_operations = 8;

py::tuple cross_entropy(py::handle logits, py::handle target, py::handle counts, py::handle weight,
                        py::handle divisor) {
  return with_type(precision(logits, "logits"), [&](auto zero) -> py::tuple {
    using R = decltype(zero);
    Arguments arguments(precision_of<R>, "logits");
    arguments.check(logits, "logits", {{"N", -1}, {"O", -1}});
    CrossEntropyProblem<R> p = {};
    p.N = plain_size(logits, 0);
    p.O = plain_size(logits, 1);
    if (p.O == 0) fail_value("logits has shape (N, 0), expected O >= 1");
    p.z = arguments.array<R>(logits, "logits", {{"N", p.N}, {"O", p.O}});
    p.target = plain_numbers<std::int64_t>(target, "target", p.N);
    if (!counts.is_none()) p.counts = plain_numbers<bool>(counts, "counts", p.N);
    p.weight = arguments.optional<R>(weight, "weight", {{"O", p.O}});
    p.divisor = real(divisor, "divisor");
    for (idx n = 0; n < p.N; ++n)
      if ((p.counts == nullptr || p.counts[n]) && (p.target[n] < 0 || p.target[n] >= p.O))
        fail_value("target contains " + std::to_string(p.target[n]) +
                   ", expected 0 <= class < O = " + std::to_string(p.O));
    auto dz = new_array<R>({p.N, p.O});
    p.dz = dz.mutable_data();
    std::vector<double> loss(static_cast<std::size_t>(p.N));
    p.loss = loss.data();
    PythonRunner runner(static_cast<double>(p.N) *
                        (row_operations + logit_operations * static_cast<double>(p.O)));
    runner.run([&](const Control& control) { isa().of<R>().cross_entropy(p, control); });
    double sum = 0;
    for (double x : loss) sum += x;
    return py::make_tuple(sum / p.divisor, dz);
  });
}

// For so many rows that are written.
template <class R>
void run(const RowsProblem<R>& p, idx written,
         void (*kernel)(const RowsProblem<R>&, const Control&)) {
  check_size({std::max(p.N, p.rows), p.E});
  PythonRunner runner(copy_operations * static_cast<double>(written) * static_cast<double>(p.E));
  runner.run([&](const Control& control) { kernel(p, control); });
}

py::object embedding(py::handle ids, py::handle table) {
  return with_type(precision(table, "weight"), [&](auto zero) -> py::object {
    using R = decltype(zero);
    Arguments arguments(precision_of<R>, "weight");
    arguments.check(table, "weight", {{"num_embeddings", -1}, {"E", -1}});
    RowsProblem<R> p = {};
    p.rows = plain_size(table, 0);
    p.E = plain_size(table, 1);
    p.from = arguments.array<R>(table, "weight", {{"num_embeddings", p.rows}, {"E", p.E}});
    if (!py::isinstance<py::array>(ids))
      fail_type("ids is a " + describe(ids) + ", expected an array");
    p.N = py::reinterpret_borrow<py::array>(ids).size();
    p.row = plain_numbers<std::int64_t>(ids, "ids", p.N);
    for (idx n = 0; n < p.N; ++n)
      if (p.row[n] < 0 || p.row[n] >= p.rows)
        fail_value("x contains the id " + std::to_string(p.row[n]) +
                   ", expected 0 <= id < num_embeddings = " + std::to_string(p.rows));
    auto y = new_array<R>({p.N, p.E});
    p.to = y.mutable_data();
    run(p, p.N, isa().of<R>().take_rows);
    return y;
  });
}

py::object embedding_vjp(py::handle ids, py::handle dy, py::handle rows) {
  return with_type(precision(dy, "dy"), [&](auto zero) -> py::object {
    using R = decltype(zero);
    Arguments arguments(precision_of<R>, "dy");
    arguments.check(dy, "dy", {{"N", -1}, {"E", -1}});
    RowsProblem<R> p = {};
    p.N = plain_size(dy, 0);
    p.E = plain_size(dy, 1);
    p.rows = integer(rows, "rows");
    if (p.rows < 0) fail_value("rows is " + std::to_string(p.rows) + ", expected at least 0");
    p.from = arguments.array<R>(dy, "dy", {{"N", p.N}, {"E", p.E}});
    p.row = plain_numbers<std::int64_t>(ids, "ids", p.N);
    for (idx n = 0; n < p.N; ++n)
      if (p.row[n] < 0 || p.row[n] >= p.rows)
        fail_value("ids contains " + std::to_string(p.row[n]) + ", expected 0 <= id < " +
                   std::to_string(p.rows));
    auto sums = new_array<R>({p.rows, p.E});
    p.to = sums.mutable_data();
    run(p, p.N + p.rows, isa().of<R>().sum_rows);
    return sums;
  });
}

}  // namespace

void define_losses(py::module_& m) {
  using py::arg;
  m.def("cross_entropy", &cross_entropy, arg("logits"), arg("target"), arg("counts"), arg("weight"),
        arg("divisor"));
  m.def("embedding", &embedding, arg("ids"), arg("weight"));
  m.def("embedding_vjp", &embedding_vjp, arg("ids"), arg("dy"), arg("rows"));
}

}  // namespace rnnfast
