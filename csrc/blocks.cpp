#include "blocks.hpp"

#include <pthread.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <new>
#include <vector>

namespace rnnfast {
namespace {

// Smaller blocks the system's own allocator keeps well enough.
constexpr std::size_t least_kept = 64 << 10;
constexpr std::size_t most_kept_in_all = 64 << 20;
constexpr std::size_t most_blocks = 64;
// From this size on blocks are seldom kept, and huge pages make their first touch cheap.
constexpr std::size_t least_huge = 16 << 20, huge_page = 2 << 20;

struct Block {
  void* p;
  std::size_t bytes;
};

// The blocks that were given back, the oldest first.
class Spare {
 public:
  Spare() { blocks_.reserve(most_blocks); }  // `give` must not fail

  // Around a fork: the child must not find the lock taken by a thread that it does not have.
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

  // A block that is large enough and no more than twice as large, or null.
  Block take(std::size_t bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::size_t best = blocks_.size();
    for (std::size_t i = 0; i < blocks_.size(); ++i)
      if (blocks_[i].bytes >= bytes && blocks_[i].bytes / 2 <= bytes &&
          (best == blocks_.size() || blocks_[i].bytes <= blocks_[best].bytes))
        best = i;
    if (best == blocks_.size()) return {nullptr, 0};
    const Block block = blocks_[best];
    remove(best);
    return block;
  }

  void give(Block block) {
    if (block.bytes < least_kept || block.bytes > most_kept_in_all) return std::free(block.p);
    std::lock_guard<std::mutex> lock(mutex_);
    while (!blocks_.empty() &&
           (total_ + block.bytes > most_kept_in_all || blocks_.size() == most_blocks)) {
      std::free(blocks_.front().p);
      remove(0);
    }
    blocks_.push_back(block);
    total_ += block.bytes;
  }

 private:
  void remove(std::size_t i) {
    total_ -= blocks_[i].bytes;
    blocks_.erase(blocks_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  std::mutex mutex_;
  std::vector<Block> blocks_;
  std::size_t total_ = 0;
};

// Outlives every static object that holds a block. Made when the library is loaded: a fork while
// the first call makes it would leave the child waiting.
Spare* const spare = [] {
  pthread_atfork([] { spare->lock(); }, [] { spare->unlock(); }, [] { spare->unlock(); });
  return new Spare;
}();

}  // namespace

Memory::Memory(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::size_t>::max() / 2) throw std::bad_alloc();
  bytes = (bytes + 63) / 64 * 64;
  if (bytes >= least_kept) {
    const Block block = spare->take(bytes);
    p_ = block.p;
    bytes_ = block.bytes;
  }
  if (p_ != nullptr) return;
  const bool huge = bytes >= least_huge;
  const std::size_t unit = huge ? huge_page : 64;
  bytes_ = bytes > 0 ? (bytes + unit - 1) / unit * unit : unit;
  p_ = std::aligned_alloc(unit, bytes_);
  if (p_ == nullptr) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
  if (huge) madvise(p_, bytes_, MADV_HUGEPAGE);
#endif
}

Memory::~Memory() {
  if (p_ != nullptr) spare->give({p_, bytes_});
}

}  // namespace rnnfast
