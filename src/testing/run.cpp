#include <tulp/testing/run.hpp>

#include <cinttypes>
#include <cstdio>
#include <exception>

namespace tulp::testing::detail {

SeedReport::SeedReport(const EventLoop& loop) : seed_(seed_of(loop)), exception_count_(std::uncaught_exceptions()) {}

SeedReport::~SeedReport() {
  if (seed_ && std::uncaught_exceptions() > exception_count_)
    std::fprintf(stderr, "tulp: this run had the seed %" PRIu64 "; TULP_SEED=%" PRIu64 " repeats it\n", *seed_, *seed_);
}

}  // namespace tulp::testing::detail
