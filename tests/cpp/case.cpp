#include "case.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <random>
#include <sstream>
#include <stdexcept>

namespace test {
namespace {

struct Entry {
  std::string type, key;
  std::vector<idx> shape;

  std::size_t size() const {
    std::size_t n = 1;
    for (idx side : shape) n *= static_cast<std::size_t>(side);
    return n;
  }
};

template <class T>
void read_values(std::istream& in, std::size_t n, Values& values) {
  std::vector<T> raw(n);
  in.read(reinterpret_cast<char*>(raw.data()), static_cast<std::streamsize>(n * sizeof(T)));
  values.assign(raw.begin(), raw.end());
}

void require(bool ok, const std::filesystem::path& path, const std::string& what) {
  if (!ok) throw std::runtime_error(path.string() + ": " + what);
}

}  // namespace

Case read_golden(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string line;
  require(std::getline(in, line) && line == "rnnfast-golden 1", path, "not a golden file");
  Case c;
  c.name = (path.parent_path().filename() / path.stem()).string();
  std::vector<Entry> entries;
  while (std::getline(in, line) && line != "data") {
    std::istringstream words(line);
    Entry entry;
    words >> entry.type;
    if (entry.type == "cell") {
      words >> c.cell;
    } else if (entry.type == "reverse") {
      words >> c.reverse;
    } else {
      words >> entry.key;
      for (idx side; words >> side;) entry.shape.push_back(side);
      if (entry.key == "x")
        c.T = entry.shape.at(0), c.B = entry.shape.at(1), c.I = entry.shape.at(2);
      if (entry.key == "W_aa") c.H = entry.shape.at(1);
      entries.push_back(entry);
    }
  }
  for (const Entry& e : entries) {
    Values& values = c.arrays[e.key];
    if (e.type == "f4") read_values<float>(in, e.size(), values);
    if (e.type == "f8") read_values<double>(in, e.size(), values);
    if (e.type == "i8") read_values<std::int64_t>(in, e.size(), values);
    require(in.good() && values.size() == e.size(), path, "cannot read " + e.type + " " + e.key);
  }
  require(in.peek() == std::ifstream::traits_type::eof(), path, "has more data than arrays");
  return c;
}

std::vector<Case> read_all_golden(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".golden") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Case> all;
  for (const auto& path : paths) all.push_back(read_golden(path));
  return all;
}

Case random_case(const std::string& cell, const CellSizes& sizes, idx T, idx B, idx I, idx H) {
  Case c;
  c.cell = cell;
  c.name = cell + " T=" + std::to_string(T) + " B=" + std::to_string(B) +
           " I=" + std::to_string(I) + " H=" + std::to_string(H);
  c.T = T, c.B = B, c.I = I, c.H = H;
  std::mt19937 draw(static_cast<unsigned>(T + 10 * B + 100 * I + 1000 * H));
  auto fill = [&](const char* key, idx n, double scale = 1.0) {
    Values& values = c.arrays[key];
    for (idx i = 0; i < n; ++i) values.push_back(scale * (draw() * 0x1p-31 - 1.0));
  };
  const idx rows = sizes.gates * H;
  fill("x", T * B * I);
  fill("da", T * B * H);
  fill("W_ax", rows * I);
  fill("W_aa", rows * H, 1 / std::sqrt(static_cast<double>(H)));
  for (const char* key : {"b_a", "b_aa"}) fill(key, rows);
  for (const char* key : {"a0", "da_T"}) fill(key, B * H);
  if (sizes.states == 2)
    for (const char* key : {"c0", "dc_T"}) fill(key, B * H);
  if (sizes.params > 0) fill("peephole", sizes.params * H);
  return c;
}

}  // namespace test
