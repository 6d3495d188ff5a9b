#include "../simd/baseline.hpp"

#include "../driver/tier.hpp"

rnnfast::Isa rnnfast::isa_baseline() { return this_tier("baseline"); }
