// What starting a process costs, and waiting for its end: one after the other, or so many at a time.
//
//   tulp_starts [COUNT [AT_A_TIME]]      prints one line of JSON
#include <tulp/tulp.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

void start_some(int count) {
  for (int i = 0; i < count; ++i) {
    auto process = tulp::create_subprocess_exec({"/bin/true"});
    if (process.wait() != 0) std::abort();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 1000;
  const int at_a_time = argc > 2 ? std::atoi(argv[2]) : 1;
  return tulp::run_main([=] {
    const auto start = std::chrono::steady_clock::now();
    std::vector<tulp::Task<>> tasks;
    for (int i = 0; i < at_a_time; ++i) tasks.push_back(tulp::create_task([=] { start_some(count / at_a_time); }));
    for (auto& task : tasks) tulp::await(task);
    const std::chrono::duration<double, std::micro> passed = std::chrono::steady_clock::now() - start;
    std::printf("{\"starts\": %d, \"us\": %.1f}\n", count, passed.count() / count);
  });
}
