#include "plan.hpp"

#include <algorithm>
#include <cmath>
#include <new>
#include <numeric>

namespace rnnfast {
namespace {

// Enough rows that a group makes use of each weight it reads; but several groups of nearly equal
// size, since threads take whole ones: of two, four and more threads all end together. Weights that
// are large threads rather share: each then reads a part of them for many rows.
// So do they where there are few steps, in which packing the weights takes as long as using them:
// each packs its own part.
idx group_count(idx T, idx B, idx weight_bytes) {
  constexpr idx few_steps = 2, shared_weight_bytes = 48 * 1024, many_rows = 256;
  if (T <= few_steps && B <= many_rows && weight_bytes >= shared_weight_bytes)
    return std::min(B, idx(1));
  const bool large = weight_bytes > (idx(2) << 20);
  auto multiple = [&](idx n, idx rows) { return n * ((B + n * rows - 1) / (n * rows)); };
  if (large) return B <= 64 ? std::min(B, idx(1)) : multiple(2, 64);
  if (B < 8) return std::min(B, idx(1));
  if (B <= 16) return 2;
  return B <= 32 ? 4 : multiple(8, 16);
}

idx largest_group(idx B, idx groups) { return groups == 0 ? 1 : (B + groups - 1) / groups; }

// Packing the weights costs about as much as using them for this many rows.
constexpr idx direct_rows = 4;

// Steps between the states that a checkpointed pass keeps: they and one segment's tape grow as
// sqrt(T) together.
idx segment_steps(idx T, bool checkpoint) {
  if (!checkpoint || T < 4) return std::max(T, idx(1));
  return static_cast<idx>(std::ceil(std::sqrt(static_cast<double>(T))));
}

// Steps after which a layer of a stack hands on: few, so that the layers run beside each other for
// most of the time, but rows enough for the tiles of the input product.
idx handover_steps(idx T, idx group_rows) {
  constexpr idx most_parts = 20, least_rows = 6;
  const idx parts = (T + most_parts - 1) / most_parts;
  return std::max(parts, (least_rows + group_rows - 1) / group_rows);
}

// Fills in row and length.
void order_rows(Plan& plan, idx T, idx B, const std::vector<idx>& lengths) {
  plan.row.resize(B);
  plan.length.assign(B, T);
  std::iota(plan.row.begin(), plan.row.end(), idx(0));
  if (lengths.empty()) return;
  std::stable_sort(plan.row.begin(), plan.row.end(),
                   [&](idx a, idx b) { return lengths[a] > lengths[b]; });
  for (idx i = 0; i < B; ++i) plan.length[i] = lengths[plan.row[i]];
}

}  // namespace

void check_size(std::initializer_list<idx> factors) {
  double product = 1;
  for (idx n : factors) product *= static_cast<double>(std::max(n, idx(1)));
  // beyond 2^60 bytes, as a call keeps less than 2^10 for each number, padding and all
  if (product > 0x1p50) throw std::bad_alloc();
}

double operations(idx steps, idx I, idx H, int gates) {
  return 2.0 * static_cast<double>(gates) * static_cast<double>(steps) * static_cast<double>(H) *
         static_cast<double>(I + H);
}

// The time of a problem, as operations at full speed: a step of a group takes some, however small.
template <class R>
double effort(const Problem<R>& p, int gates, double steps) {
  constexpr double least_of_gate = 3500;
  const double rows = static_cast<double>(largest_group(p.B, p.groups));
  return std::max(steps * operations(1, p.I, p.H, gates), steps / rows * gates * least_of_gate);
}

template <class R>
Plan make_plan(Problem<R>& p, int gates, const std::vector<idx>& lengths, bool checkpoint,
               bool packed) {
  check_size({p.T, p.B, std::max(p.I, p.H)});  // sequences and the tape
  check_size({p.I, p.H});                      // weights
  check_size({p.H, p.H});
  Plan plan;
  order_rows(plan, p.T, p.B, lengths);
  p.row = plan.row.data();
  p.length = plan.length.data();
  p.groups = group_count(p.T, p.B, gates * p.H * p.H * static_cast<idx>(sizeof(R)));
  p.segment = segment_steps(p.T, checkpoint);
  p.direct = !packed && p.T * p.B <= direct_rows;
  for (idx n : plan.length) plan.steps += static_cast<double>(n);
  plan.operations = effort(p, gates, plan.steps);
  return plan;
}

template <class R>
void plan_stack(Plan& plan, std::vector<Problem<R>>& problems, idx directions, int gates) {
  const Problem<R>& first = problems[0];
  const idx count = static_cast<idx>(problems.size());
  check_size({first.T, first.B, first.H * directions, count});  // what the layers read
  // the second direction begins where the layer below ends
  const bool follow = directions == 1 && count > 1;
  problems[0].handover = follow ? handover_steps(first.T, largest_group(first.B, first.groups)) : 0;
  for (idx k = 1; k < count; ++k) {
    Problem<R>& p = problems[static_cast<std::size_t>(k)];
    check_size({p.I, p.H});
    p.row = first.row;
    p.length = first.length;
    p.groups = first.groups;
    p.segment = first.segment;
    p.handover = first.handover;
    p.direct = first.direct;
    plan.operations += effort(p, gates, plan.steps);
  }
}

template Plan make_plan(Problem<float>&, int, const std::vector<idx>&, bool, bool);
template Plan make_plan(Problem<double>&, int, const std::vector<idx>&, bool, bool);
template void plan_stack(Plan&, std::vector<Problem<float>>&, idx, int);
template void plan_stack(Plan&, std::vector<Problem<double>>&, idx, int);

}  // namespace rnnfast
