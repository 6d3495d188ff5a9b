// Activations, optimiser steps and norms, against plain expressions in double.
#include <random>

#include "guarded.hpp"
#include "tests.hpp"

namespace test {
namespace {

using rnnfast::Activation;

template <class R>
struct Array {
  Guarded<R> buffer;
  Values before;

  Array(idx n, unsigned seed, double low, double high) : buffer(static_cast<std::size_t>(n)) {
    std::mt19937 draw(seed);
    for (idx i = 0; i < n; ++i)
      before.push_back(buffer.data()[i] = static_cast<R>(low + (high - low) * (draw() * 0x1p-32)));
  }
  R* data() const { return buffer.data(); }
  Values now() const { return Values(data(), data() + buffer.size()); }
};

template <class R>
class Elementwise {
 public:
  Elementwise(const rnnfast::Kernels<R>& kernels, idx n, Report& report)
      : k_(kernels), n_(n), report_(report), where_("n=" + std::to_string(n)) {}

  void activations() {
    const std::pair<Activation, double (*)(double)> functions[] = {
        {Activation::identity, [](double z) { return z; }},
        {Activation::tanh, [](double z) { return std::tanh(z); }},
        {Activation::relu, [](double z) { return z > 0 ? z : 0.0; }},
        {Activation::sigmoid, [](double z) { return 1 / (1 + std::exp(-z)); }},
        {Activation::exp, [](double z) { return std::exp(z); }},
    };
    for (const auto& [name, value] : functions) {
      Array<R> z(n_, 1, -20, 3), y(n_, 2, 0, 1);
      k_.activate(name, z.data(), y.data(), n_);
      Values expected;
      for (double v : z.before) expected.push_back(value(v));
      compare("activation " + std::to_string(static_cast<int>(name)), y, expected);
      compare("activation's argument", z, z.before);
    }
  }

  void sgd() {
    const rnnfast::SgdStep s = {0.1, 0.9, 0.01};
    Array<R> p(n_, 1, -1, 1), g(n_, 2, -1, 1), u(n_, 3, -1, 1), plain(n_, 1, -1, 1);
    Values velocity, moved, still;
    for (idx i = 0; i < n_; ++i) {
      const double d = g.before[i] + s.weight_decay * p.before[i];
      velocity.push_back(s.momentum * u.before[i] + d);
      moved.push_back(p.before[i] - s.lr * velocity[i]);
      still.push_back(p.before[i] - s.lr * d);
    }
    k_.sgd_step(s, p.data(), g.data(), u.data(), n_);
    k_.sgd_step(s, plain.data(), g.data(), nullptr, n_);
    compare("sgd p", p, moved), compare("sgd velocity", u, velocity);
    compare("sgd without momentum", plain, still), compare("sgd g", g, g.before);
  }

  void adam(bool decoupled) {
    const double beta1 = 0.9, beta2 = 0.999;
    const rnnfast::AdamStep s = {
        0.1, beta1, beta2, 1 - std::pow(beta1, 3), 1 - std::pow(beta2, 3), 1e-3, 0.3, decoupled};
    const double decay = decoupled ? 0 : s.weight_decay;
    Array<R> p(n_, 1, -1, 1), g(n_, 2, -1, 1), m(n_, 3, -1, 1), v(n_, 4, 0.1, 1);
    Values p1, m1, v1;
    for (idx i = 0; i < n_; ++i) {
      const double d = g.before[i] + decay * p.before[i];
      m1.push_back(beta1 * m.before[i] + (1 - beta1) * d);
      v1.push_back(beta2 * v.before[i] + (1 - beta2) * d * d);
      p1.push_back(p.before[i] - s.lr * (s.weight_decay - decay) * p.before[i] -
                   s.lr * (m1[i] / s.correction1) / (std::sqrt(v1[i] / s.correction2) + s.eps));
    }
    k_.adam_step(s, p.data(), g.data(), m.data(), v.data(), n_);
    compare("adam p", p, p1), compare("adam m", m, m1), compare("adam v", v, v1);
    compare("adam g", g, g.before);
  }

  void rmsprop() {
    const rnnfast::RmspropStep s = {0.1, 0.99, 1e-3, 0.01};
    Array<R> p(n_, 1, -1, 1), g(n_, 2, -1, 1), v(n_, 4, 0.1, 1);
    Values p1, v1;
    for (idx i = 0; i < n_; ++i) {
      const double d = g.before[i] + s.weight_decay * p.before[i];
      v1.push_back(s.alpha * v.before[i] + (1 - s.alpha) * d * d);
      p1.push_back(p.before[i] - s.lr * d / (std::sqrt(v1[i]) + s.eps));
    }
    k_.rmsprop_step(s, p.data(), g.data(), v.data(), n_);
    compare("rmsprop p", p, p1), compare("rmsprop v", v, v1), compare("rmsprop g", g, g.before);
  }

  void norm_and_scale() {
    Array<R> x(n_, 1, -1, 1);
    double sum = 0;
    Values halved;
    for (double v : x.before) sum += v * v, halved.push_back(v / 2);
    report_.expect_near({k_.sum_of_squares(x.data(), n_)}, {sum}, 1e-15 * static_cast<double>(n_),
                        where_ + " sum of squares");
    k_.scale(x.data(), n_, 0.5);
    compare("scale", x, halved);
  }

 private:
  void compare(const std::string& what, const Array<R>& got, const Values& expected) {
    report_.expect(got.buffer.guards_intact(), where_ + " " + what, "wrote outside its memory");
    report_.expect_near(got.now(), expected,
                        4 * std::numeric_limits<R>::epsilon() * largest(expected),
                        where_ + " " + what);
  }

  const rnnfast::Kernels<R>& k_;
  const idx n_;
  Report& report_;
  const std::string where_;
};

template <class R>
void test_all_sizes(const rnnfast::Isa& tier, Report& report) {
  for (idx n = 0; n <= 40; ++n) {
    Elementwise<R> test(tier.of<R>(), n, report);
    test.activations();
    test.sgd();
    test.adam(false);
    test.adam(true);
    test.rmsprop();
    test.norm_and_scale();
  }
}

}  // namespace

void test_elementwise(const rnnfast::Isa& tier, Report& report) {
  test_all_sizes<float>(tier, report);
  test_all_sizes<double>(tier, report);
}

}  // namespace test
