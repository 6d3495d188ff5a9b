// y = g2(W x + b) and its gradients, against plain loops in double.
#include <random>

#include "guarded.hpp"
#include "layer.hpp"
#include "tests.hpp"

namespace test {
namespace {

using rnnfast::Activation;

double activate(Activation g, double z) {
  switch (g) {
    case Activation::tanh:
      return std::tanh(z);
    case Activation::relu:
      return z > 0 ? z : 0;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-z));
    default:
      return z;  // identity; softmax is made of exp, over a row
  }
}

void activate_row(Activation g, double* z, idx n) {
  if (g != Activation::softmax) {
    for (idx i = 0; i < n; ++i) z[i] = activate(g, z[i]);
    return;
  }
  double sum = 0;
  for (idx i = 0; i < n; ++i) sum += z[i] = std::exp(z[i]);
  for (idx i = 0; i < n; ++i) z[i] /= sum;
}

// dz of one row from y = g(z) and dy.
void activate_row_back(Activation g, const double* y, const double* dy, double* dz, idx n) {
  double mean = 0;
  for (idx i = 0; i < n; ++i) mean += y[i] * dy[i];
  for (idx i = 0; i < n; ++i) {
    if (g == Activation::identity) dz[i] = dy[i];
    if (g == Activation::tanh) dz[i] = dy[i] * (1 - y[i] * y[i]);
    if (g == Activation::relu) dz[i] = y[i] > 0 ? dy[i] : 0;
    if (g == Activation::sigmoid) dz[i] = dy[i] * y[i] * (1 - y[i]);
    if (g == Activation::softmax) dz[i] = y[i] * (dy[i] - mean);
  }
}

template <class R>
struct Dense {
  idx N, I, O;
  Activation g2;
  bool bias;
  Values x, W, b, dy;  // exact in R

  Dense(idx N_, idx I_, idx O_, Activation g, bool with_bias)
      : N(N_), I(I_), O(O_), g2(g), bias(with_bias) {
    std::mt19937 draw(static_cast<unsigned>(N + 100 * I + 1000 * O));
    auto fill = [&](Values& values, idx n) {
      for (idx k = 0; k < n; ++k) values.push_back(static_cast<R>(draw() * 0x1p-31 - 1.0));
    };
    fill(x, N * I), fill(W, O * I), fill(b, O), fill(dy, N * O);
  }

  Arrays expected() const {
    Arrays e = {
        {"y", Values(N * O)}, {"dx", Values(N * I)}, {"dW", Values(O * I)}, {"db", Values(O)}};
    for (idx n = 0; n < N; ++n) {
      double* y = e["y"].data() + n * O;
      for (idx o = 0; o < O; ++o) {
        y[o] = bias ? b[o] : 0;
        for (idx i = 0; i < I; ++i) y[o] += W[o * I + i] * x[n * I + i];
      }
      activate_row(g2, y, O);
      Values dz(O);
      activate_row_back(g2, y, dy.data() + n * O, dz.data(), O);
      for (idx o = 0; o < O; ++o) {
        e["db"][o] += dz[o];
        for (idx i = 0; i < I; ++i) {
          e["dW"][o * I + i] += dz[o] * x[n * I + i];
          e["dx"][n * I + i] += dz[o] * W[o * I + i];
        }
      }
    }
    if (!bias) e.erase("db");
    return e;
  }

  Arrays run(const rnnfast::Kernels<R>& kernels, int threads, Report& report,
             const std::string& where) const {
    const R nan = std::numeric_limits<R>::quiet_NaN();
    auto input = [](const Values& values) {
      auto buffer = std::make_unique<Guarded<R>>(values.size());
      std::copy(values.begin(), values.end(), buffer->data());
      return buffer;
    };
    const auto gx = input(x), gW = input(W), gb = input(b), gdy = input(dy);
    Guarded<R> y(N * O, nan), dx(N * I, nan), dW(O * I, nan), db(O, nan);
    const rnnfast::DenseProblem<R> p = {N,
                                        I,
                                        O,
                                        g2,
                                        gx->data(),
                                        gW->data(),
                                        bias ? gb->data() : nullptr,
                                        y.data(),
                                        gdy->data(),
                                        dx.data(),
                                        dW.data(),
                                        bias ? db.data() : nullptr};
    Guarded<unsigned char> work(kernels.dense_forward_work(p, threads), 0xFF, 64);
    Guarded<unsigned char> back_work(kernels.dense_backward_work(p, threads), 0xFF, 64);
    kernels.dense_forward(p, control_of(threads), work.data());
    kernels.dense_backward(p, control_of(threads), back_work.data());
    Arrays found;
    bool intact = work.guards_intact() && back_work.guards_intact();
    auto take = [&](const char* key, const Guarded<R>& buffer) {
      found[key].assign(buffer.data(), buffer.data() + buffer.size());
      intact = intact && buffer.guards_intact();
    };
    take("y", y), take("dx", dx), take("dW", dW), take("db", db);
    if (!bias) found.erase("db");
    for (const auto* buffer : {&gx, &gW, &gb, &gdy}) intact = intact && (*buffer)->guards_intact();
    report.expect(intact, where, "wrote outside its memory");
    return found;
  }
};

template <class R>
void test_size(const rnnfast::Isa& tier, const Dense<R>& dense, Report& report) {
  const std::string where = "dense g2=" + std::to_string(static_cast<int>(dense.g2)) +
                            " N=" + std::to_string(dense.N) + " I=" + std::to_string(dense.I) +
                            " O=" + std::to_string(dense.O);
  const Arrays alone = dense.run(tier.of<R>(), 1, report, where);
  const double terms = static_cast<double>(std::max({dense.I, dense.O, dense.N / 16}));
  expect_arrays_near<R>(report, alone, dense.expected(), 4 * std::sqrt(terms), where);
  for (int threads : {2, 3, 8})
    report.expect(dense.run(tier.of<R>(), threads, report, where) == alone, where,
                  "the number of threads changes the result");
}

template <class R>
void test_all_sizes(const rnnfast::Isa& tier, Report& report) {
  const Activation all[] = {Activation::identity, Activation::tanh, Activation::relu,
                            Activation::sigmoid, Activation::softmax};
  for (Activation g2 : all)
    for (idx N : {0, 1, 3, 65})
      for (idx I : {0, 1, 7, 17})
        for (idx O : {1, 3, 8, 33, 70}) test_size(tier, Dense<R>(N, I, O, g2, O != 3), report);
  // Weights in place for dx, more than one task of dW, and blocks of rows that share panels.
  test_size(tier, Dense<R>(4, 64, 40, Activation::identity, true), report);
  test_size(tier, Dense<R>(7, 5, 1500, Activation::tanh, true), report);
  test_size(tier, Dense<R>(1050, 3, 150, Activation::softmax, true), report);
}

}  // namespace

void test_dense(const rnnfast::Isa& tier, Report& report) {
  test_all_sizes<float>(tier, report);
  test_all_sizes<double>(tier, report);
}

}  // namespace test
