#include <tulp/loop_core.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace tulp;

namespace {
struct Entry final : Runnable {
  Entry(int t, int n) : thread(t), number(n) {}
  void run() noexcept override {}
  int thread, number;
};
}  // namespace

TEST_CASE("an Inbox moves everything to the end of a queue, the oldest first") {
  Inbox inbox;
  RunQueue queue;
  Entry a(0, 0), b(0, 1), c(0, 2), present(0, 9);
  queue.push(present);
  CHECK(inbox.empty());
  inbox.take(queue);
  for (Entry* entry : {&a, &b, &c}) CHECK(inbox.push(*entry));
  CHECK_FALSE(inbox.empty());
  inbox.take(queue);
  CHECK(inbox.empty());
  for (Entry* entry : {&present, &a, &b, &c}) CHECK(&queue.pop() == entry);
  CHECK(queue.empty());
}

TEST_CASE("a batch is what is in a RunQueue when it begins; what comes later is the next one's") {
  RunQueue queue;
  Entry a(0, 0), b(0, 1), late(0, 2);
  queue.push(a);
  queue.push(b);
  CHECK_FALSE(queue.is_in_batch());
  queue.begin_batch();
  CHECK(queue.pop_task_step() == nullptr);  // a callback
  CHECK(&queue.pop() == &a);
  queue.push(late);
  CHECK(queue.is_in_batch());
  CHECK(&queue.pop() == &b);
  CHECK_FALSE(queue.is_in_batch());
  queue.begin_batch();
  queue.end_batch();
  CHECK_FALSE(queue.is_in_batch());
  CHECK(&queue.pop() == &late);
  CHECK(queue.empty());
}

TEST_CASE("a batch that is resumed goes on with what it is given, before all that has come since it began") {
  RunQueue queue;
  RunQueue more;
  Entry a(0, 0), b(0, 1), c(0, 2), late(0, 3);
  queue.push(a);
  queue.begin_batch();
  CHECK(&queue.pop() == &a);
  SECTION("something has come") {
    queue.push(late);
    more.push(b);
    more.push(c);
    queue.resume_batch(more);
    CHECK(more.empty());
    CHECK(&queue.pop() == &b);
    CHECK(queue.is_in_batch());
    CHECK(&queue.pop() == &c);
    CHECK_FALSE(queue.is_in_batch());
    CHECK(&queue.pop() == &late);
  }
  SECTION("nothing has come") {
    more.push(b);
    queue.resume_batch(more);
    queue.push(late);
    CHECK(&queue.pop() == &b);
    CHECK_FALSE(queue.is_in_batch());
    CHECK(&queue.pop() == &late);
  }
  CHECK(queue.empty());
  more.push(c);
  CHECK(&more.pop() == &c);
}

TEST_CASE("a closed Inbox hands out what was there and refuses what comes later; it may be closed twice") {
  Inbox inbox;
  RunQueue queue;
  Entry early(0, 0), late(0, 1);
  CHECK(inbox.push(early));
  inbox.close(queue);
  CHECK_FALSE(inbox.push(late));
  inbox.close(queue);
  CHECK(&queue.pop() == &early);
  CHECK(queue.empty());
}

TEST_CASE("an Inbox loses nothing between pushing threads, a taking one and close, and keeps each thread's order") {
  constexpr int thread_count = 4, per_thread = 20'000;
  Inbox inbox;
  RunQueue queue;
  std::vector<std::vector<std::unique_ptr<Entry>>> entries(thread_count);
  std::vector<int> accepted(thread_count, 0), seen(thread_count, 0);
  std::atomic<int> finished = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < thread_count; ++t) {
    threads.emplace_back([&, t] {
      const auto at = static_cast<std::size_t>(t);
      for (int i = 0; i < per_thread; ++i) entries[at].push_back(std::make_unique<Entry>(t, i));
      for (const auto& entry : entries[at]) accepted[at] += inbox.push(*entry) ? 1 : 0;
      ++finished;
    });
  }
  const auto drain = [&] {
    while (!queue.empty()) {
      const auto& entry = static_cast<const Entry&>(queue.pop());
      if (seen[static_cast<std::size_t>(entry.thread)]++ != entry.number) FAIL("out of order, or lost");
    }
  };
  const bool is_closed_early = GENERATE(false, true);
  while (finished < (is_closed_early ? 1 : thread_count)) {
    inbox.take(queue);
    drain();
  }
  inbox.close(queue);
  drain();
  for (auto& thread : threads) thread.join();
  CHECK(seen == accepted);
  if (!is_closed_early) CHECK(seen == std::vector<int>(thread_count, per_thread));
}
