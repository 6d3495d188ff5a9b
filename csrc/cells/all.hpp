// The registry: a cell's file, and its name in the list.
#pragma once
#include "cell.hpp"
#include "gru.hpp"
#include "lstm.hpp"
#include "rnn.hpp"

namespace rnnfast {
namespace {

using AllCells = CellList<Rnn<Tanh>, Rnn<Relu>, Rnn<Sigmoid>, Rnn<Identity>, Lstm<false>,
                          Lstm<true>, GruAfter, GruBefore>;

}  // namespace
}  // namespace rnnfast
