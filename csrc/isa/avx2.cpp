#include "../simd/avx2.hpp"

#include "../driver/tier.hpp"

rnnfast::Isa rnnfast::isa_avx2() { return this_tier("avx2"); }
