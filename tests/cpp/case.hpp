// One run of a layer: its arguments, and what it must return if a golden file says so.
#pragma once
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace test {

using idx = std::ptrdiff_t;
using Values = std::vector<double>;  // row-major; float32 inputs and integers are exact in double

struct Case {
  std::string name;  // "lstm/ragged"
  std::string cell;
  bool reverse = false;
  idx T = 0, B = 0, I = 0, H = 0;
  // By the names of make_golden.py; what is None is left out.
  std::map<std::string, Values> arrays;

  bool has(const std::string& key) const { return arrays.count(key) != 0; }
};

Case read_golden(const std::filesystem::path& path);

// All golden files below the folder, in order of their names.
std::vector<Case> read_all_golden(const std::filesystem::path& folder);

struct CellSizes {
  int gates, states, params;
};

// A case with every argument given, of values in (-1, 1), and no expected results.
Case random_case(const std::string& cell, const CellSizes& sizes, idx T, idx B, idx I, idx H);

}  // namespace test
