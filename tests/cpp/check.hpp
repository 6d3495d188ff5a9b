// What a test reports: failures by name, and how many values were compared.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace test {

class Report {
 public:
  explicit Report(std::string tier) : tier_(std::move(tier)) {}

  void fail(const std::string& where, const std::string& what) {
    ++failures_;
    std::printf("FAILED [%s] %s: %s\n", tier_.c_str(), where.c_str(), what.c_str());
  }

  void expect(bool ok, const std::string& where, const char* what) {
    ++comparisons_;
    if (!ok) fail(where, what);
  }

  // Every value within `bound` of its expectation, and none of them NaN.
  void expect_near(const std::vector<double>& got, const std::vector<double>& expected,
                   double bound, const std::string& where) {
    comparisons_ += got.size();
    if (got.size() != expected.size()) return fail(where, "wrong size");
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (std::abs(got[i] - expected[i]) <= bound) continue;
      char text[120];
      std::snprintf(text, sizeof text, "[%zu] is %.17g, expected %.17g within %.2g", i, got[i],
                    expected[i], bound);
      return fail(where, text);
    }
  }

  int failures() const { return failures_; }
  unsigned long comparisons() const { return comparisons_; }

 private:
  std::string tier_;
  int failures_ = 0;
  unsigned long comparisons_ = 0;
};

using Arrays = std::map<std::string, std::vector<double>>;

inline double largest(const std::vector<double>& values) {
  double most = 1;
  for (double v : values) most = std::max(most, std::abs(v));
  return most;
}

// Each expected array against the one of the same name, within `eps_units` eps of its largest value
// (at least 1).
template <class R>
void expect_arrays_near(Report& report, const Arrays& got, const Arrays& expected, double eps_units,
                        const std::string& where) {
  for (const auto& [key, values] : expected) {
    auto it = got.find(key);
    if (it == got.end())
      report.fail(where, key + " is missing");
    else
      report.expect_near(it->second, values,
                         eps_units * std::numeric_limits<R>::epsilon() * largest(values),
                         where + " " + key);
  }
}

}  // namespace test
