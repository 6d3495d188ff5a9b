// The extension rnnfast._rnnfast.
#include "../parallel/processors.hpp"
#include "call.hpp"

namespace rnnfast {
namespace {

py::tuple isas() {
  py::list names;
  for (const Isa& tier : available_isas()) names.append(tier.name);
  return py::tuple(names);
}

}  // namespace

void define_configuration(py::module_& m) {
  using py::arg;
  m.def("isa", [] { return isa().name; });
  m.def("isas", &isas);
  m.def("num_threads", &num_threads);
  m.def("set_num_threads", &set_num_threads, arg("n"));
  // For tests: how much work is worth a second thread (0: threads share even what takes longer that
  // way), and how many took part in the last call.
  m.def("_set_parallel_operations", [](double n) { set_run_settings({n, n == 0}); }, arg("n"));
  m.def("_parallel_operations", [] { return run_settings().parallel_operations; });
  m.def("_last_threads", &last_threads);
}

}  // namespace rnnfast

PYBIND11_MODULE(_rnnfast, m) {
  m.doc() = "Native kernels of rnnfast. The public functions are in rnnfast.functional.";
  try {
    rnnfast::isa();
  } catch (const std::exception& error) {
    throw pybind11::import_error(error.what());
  }
  rnnfast::find_main_thread();
  rnnfast::define_layers(m);
  rnnfast::define_pullback(m);
  rnnfast::define_stream(m);
  rnnfast::define_dense(m);
  rnnfast::define_losses(m);
  rnnfast::define_optimizers(m);
  rnnfast::define_configuration(m);
  rnnfast::define_probe(m);
}
