#include "../simd/avx512.hpp"

#include "../driver/tier.hpp"

rnnfast::Isa rnnfast::isa_avx512() { return this_tier("avx512"); }
