// dense, dense_vjp and the elementwise activations.
#include "call.hpp"
#include "kinds.hpp"

namespace rnnfast {
namespace {

Activation find_activation(const std::string& name, bool with_exp) {
  if (name == "identity") return Activation::identity;
  if (name == "tanh") return Activation::tanh;
  if (name == "relu") return Activation::relu;
  if (name == "sigmoid") return Activation::sigmoid;
  if (with_exp && name == "exp") return Activation::exp;
  if (!with_exp && name == "softmax") return Activation::softmax;
  fail_value("activation is '" + name + "', expected identity, tanh, relu, sigmoid or " +
             (with_exp ? "exp" : "softmax"));
}

template <class R>
DenseProblem<R> read(Arguments& arguments, py::handle x, py::handle W) {
  DenseProblem<R> p = {};
  arguments.check(x, "x", {{"N", -1}, {"I", -1}});
  p.N = py::reinterpret_borrow<py::array>(x).shape(0);
  p.I = py::reinterpret_borrow<py::array>(x).shape(1);
  arguments.check(W, "W", {{"O", -1}, {"I", p.I}});
  p.O = py::reinterpret_borrow<py::array>(W).shape(0);
  p.x = arguments.array<R>(x, "x", {{"N", p.N}, {"I", p.I}});
  p.W = arguments.array<R>(W, "W", {{"O", p.O}, {"I", p.I}});
  return p;
}

template <class R>
void run(const DenseProblem<R>& p, double factor,
         std::size_t (*work)(const DenseProblem<R>&, int threads),
         void (*kernel)(const DenseProblem<R>&, const Control&, void* memory)) {
  check_size({p.N, std::max(p.I, p.O)});
  check_size({p.I, p.O});
  PythonRunner runner(factor * 2.0 * static_cast<double>(p.N) * static_cast<double>(p.I) *
                      static_cast<double>(p.O));
  Memory memory(work(p, runner.threads()));
  runner.run([&](const Control& control) { kernel(p, control, memory.get()); });
}

py::object dense(py::handle x, py::handle W, py::handle b, py::handle activation) {
  return with_type(precision(x, "x"), [&](auto zero) -> py::object {
    using R = decltype(zero);
    Arguments arguments(precision_of<R>, "x");
    DenseProblem<R> p = read<R>(arguments, x, W);
    p.g2 = find_activation(text(activation, "activation"), false);
    p.b = arguments.optional<R>(b, "b", {{"O", p.O}});
    auto y = new_array<R>({p.N, p.O});
    p.y = y.mutable_data();
    run<R>(p, 1, isa().of<R>().dense_forward_work, isa().of<R>().dense_forward);
    return y;
  });
}

py::tuple dense_vjp(py::handle x, py::handle W, py::handle y, py::handle dy, py::handle activation,
                    py::handle need_x) {
  return with_type(precision(x, "x"), [&](auto zero) -> py::tuple {
    using R = decltype(zero);
    Arguments arguments(precision_of<R>, "x");
    DenseProblem<R> p = read<R>(arguments, x, W);
    p.g2 = find_activation(text(activation, "activation"), false);
    p.y = const_cast<R*>(arguments.array<R>(y, "y", {{"N", p.N}, {"O", p.O}}));
    p.dy = arguments.array<R>(dy, "dy", {{"N", p.N}, {"O", p.O}});
    auto dW = new_array<R>({p.O, p.I});
    auto db = new_array<R>({p.O});
    p.dW = dW.mutable_data();
    p.db = db.mutable_data();
    py::object dx = py::none();
    if (truth(need_x, "need_x")) {
      auto array = new_array<R>({p.N, p.I});
      p.dx = array.mutable_data();
      dx = array;
    }
    run<R>(p, p.dx != nullptr ? 2 : 1, isa().of<R>().dense_backward_work,
           isa().of<R>().dense_backward);
    return py::make_tuple(dx, dW, db);
  });
}

py::object activation(py::handle name, py::handle z) {
  return with_type(precision(z, "z"), [&](auto zero) -> py::object {
    using R = decltype(zero);
    Arguments arguments(precision_of<R>, "z");
    const Activation g = find_activation(text(name, "activation"), true);
    arguments.check(z, "z", {{"n", -1}});
    const idx n = py::reinterpret_borrow<py::array>(z).shape(0);
    const R* from = arguments.array<R>(z, "z", {{"n", n}});
    auto y = new_array<R>({n});
    const FlushDenormals flush;
    isa().of<R>().activate(g, from, y.mutable_data(), n);
    return y;
  });
}

}  // namespace

void define_dense(py::module_& m) {
  using py::arg;
  m.def("dense", &dense, arg("x"), arg("W"), arg("b"), arg("activation"));
  m.def("dense_vjp", &dense_vjp, arg("x"), arg("W"), arg("y"), arg("dy"), arg("activation"),
        arg("need_x"));
  m.def("activation", &activation, arg("name"), arg("z"));
}

}  // namespace rnnfast
