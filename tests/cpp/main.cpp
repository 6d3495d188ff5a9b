// rnnfast_tests GOLDEN_FOLDER TIER: every kernel of one ISA tier, without Python.
#include <cstdio>
#include <exception>

#include "dispatch.hpp"
#include "tests.hpp"

namespace {

constexpr int skipped = 77;  // ctest's SKIP_RETURN_CODE

int run(const char* folder, const std::string& name) {
  for (const rnnfast::Isa& tier : rnnfast::available_isas()) {
    if (name != tier.name) continue;
    test::Report report(name);
    test::test_layers(tier, test::read_all_golden(folder), report);
    test::test_stops(tier, report);
    test::test_dense(tier, report);
    test::test_elementwise(tier, report);
    std::printf("%s: %lu values compared, %d failures\n", tier.name, report.comparisons(),
                report.failures());
    return report.failures() == 0 ? 0 : 1;
  }
  std::printf("%s: this machine cannot run it\n", name.c_str());
  return skipped;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "usage: rnnfast_tests GOLDEN_FOLDER TIER\n");
    return 2;
  }
  try {
    return run(arguments[1], arguments[2]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
