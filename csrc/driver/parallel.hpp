// Tasks for a kernel's threads.
#pragma once
#include <type_traits>

#include "../problem.hpp"
#include "control.hpp"

namespace rnnfast {
namespace {

// f(task, slot) for every task, on the threads that there are.
template <class F>
void parallel(const Control& control, idx tasks, F&& f) {
  auto call = [](void* context, std::ptrdiff_t index, int slot) {
    (*static_cast<std::remove_reference_t<F>*>(context))(index, slot);
  };
  control.parallel(control.team, tasks, call, &f);
}

}  // namespace
}  // namespace rnnfast
