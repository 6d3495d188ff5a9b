// The parts of the test program.
#pragma once
#include <vector>

#include "case.hpp"
#include "check.hpp"
#include "kernels.hpp"

namespace test {

void test_layers(const rnnfast::Isa& tier, const std::vector<Case>& golden, Report& report);
void test_stops(const rnnfast::Isa& tier, Report& report);
void test_dense(const rnnfast::Isa& tier, Report& report);
void test_elementwise(const rnnfast::Isa& tier, Report& report);

}  // namespace test
