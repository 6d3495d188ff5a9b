#include "dispatch.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace rnnfast {
namespace {

#if defined(__x86_64__)
struct Cpu {
  bool avx2 = false, avx512 = false;

  // The processor must have the instructions and the operating system must save the registers
  // (XCR0). The compiler's own __builtin_cpu_supports reported nothing under one toolchain.
  Cpu() {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return;
    const bool fma = c >> 12 & 1, osxsave = c >> 27 & 1;
    if (!osxsave || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    const bool ymm = (low & 0x06) == 0x06, zmm = (low & 0xe6) == 0xe6;
    avx2 = ymm && fma && (b >> 5 & 1);
    const unsigned f = b >> 16 & 1, dq = b >> 17 & 1, bw = b >> 30 & 1, vl = b >> 31 & 1;
    avx512 = avx2 && zmm && f && dq && bw && vl;
  }
};
#endif

std::vector<Isa> find_isas() {
  std::vector<Isa> found = {isa_baseline()};
#if defined(__x86_64__)
  const Cpu cpu;
  if (cpu.avx2) found.push_back(isa_avx2());
  if (cpu.avx512) found.push_back(isa_avx512());
#endif
  return found;
}

const Isa& choose() {
  const char* wanted = std::getenv("RNNFAST_ISA");
  if (wanted == nullptr || *wanted == '\0') return available_isas().back();
  std::string names;
  for (const Isa& tier : available_isas()) {
    if (std::string(wanted) == tier.name) return tier;
    names += std::string(names.empty() ? "" : ", ") + tier.name;
  }
  throw std::runtime_error("RNNFAST_ISA is '" + std::string(wanted) +
                           "', expected one that this machine can run: " + names);
}

}  // namespace

const std::vector<Isa>& available_isas() {
  static const std::vector<Isa> found = find_isas();
  return found;
}

const Isa& isa() {
  static const Isa& chosen = choose();
  return chosen;
}

}  // namespace rnnfast
