// Which ISA tier runs: the best one that this machine and its operating system offer, or the one
// named in RNNFAST_ISA.
#pragma once
#include <vector>

#include "kernels.hpp"

namespace rnnfast {

// The tiers this machine can run, the best last.
const std::vector<Isa>& available_isas();

// The tier in use, chosen at the first call. Throws std::runtime_error if RNNFAST_ISA names a tier
// that does not exist or that this machine cannot run.
const Isa& isa();

}  // namespace rnnfast
