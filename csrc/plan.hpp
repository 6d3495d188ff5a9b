// What is decided about a problem before any kernel runs, from its sizes alone and never from the
// number of threads: the order of the rows, the groups, the segments of a checkpointed pass.
#pragma once
#include <cstddef>
#include <initializer_list>
#include <vector>

#include "problem.hpp"

namespace rnnfast {

struct Plan {
  // Rows, longest sequence first (rows of equal length keep their order), and their lengths.
  std::vector<idx> row, length;
  double steps = 0;  // of all rows
  double operations =
      0;  // of a forward pass; where it waits more than it computes, those of its time
};

// Decides from the sizes T, B, I and H of `p`, and fills in its row and length, which point into
// the plan, groups, segment and direct. `gates` are the cell's; no `lengths` are all T;
// `packed` says that the weights are packed already. Throws std::bad_alloc where an array of the
// call would be larger than any memory.
template <class R>
Plan make_plan(Problem<R>& p, int gates, const std::vector<idx>& lengths, bool checkpoint,
               bool packed);

// Fills in the same for a stack whose first problem is planned, and adds up their operations.
template <class R>
void plan_stack(Plan& plan, std::vector<Problem<R>>& problems, idx directions, int gates);

// Throws std::bad_alloc if a product of sizes is more than any memory holds: below that, no sum of
// a few such products, in bytes, runs over.
void check_size(std::initializer_list<idx> factors);

// Multiplications and additions of a forward pass over so many steps of all rows together.
double operations(idx steps, idx I, idx H, int gates);

}  // namespace rnnfast
