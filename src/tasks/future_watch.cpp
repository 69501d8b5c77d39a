#include <tulp/detail/future_watch.hpp>

#include <unordered_set>

#include <tulp/event_loop.hpp>

namespace tulp::detail {

void FutureWatch::Entry::run() noexcept {
  FutureWatch* const to = owner;
  const std::size_t number = index;
  Ref<FutureState> ended = std::move(future);
  delete this;
  if (to != nullptr) to->on_end(std::move(ended), number);
}

Origin FutureWatch::Entry::origin() const {
  return {.what = "callback of " + future->description(), .created_at = future->created_at()};
}

FutureWatch::~FutureWatch() { forget_all(); }

void FutureWatch::forget_all() noexcept { entries_.for_each(forget); }

void FutureWatch::forget(Entry& entry) noexcept {
  static_cast<ListHook<Entry>&>(entry).unlink();
  entry.owner = nullptr;
  if (!entry.is_queued()) delete &entry;  // else in its turn
}

void FutureWatch::watch(FutureState& future, std::size_t index, Waiter::Role role) {
  auto* const entry = new Entry(*this, Ref<FutureState>::share(&future), index, role);
  entries_.push_back(*entry);
  if (future.is_done())
    future.loop().post(*entry);
  else
    future.add_waiter(*entry);
}

bool FutureWatch::cancel_one(FutureState& future, bool, const CancelReason& reason) noexcept {
  future.cancel(reason);
  return true;
}

namespace {

struct Spread {
  bool is_under_way = false;
  std::uint64_t number = 0;
};
constinit thread_local Spread spread;

}  // namespace

bool FutureWatch::spread_cancel(CancelReason reason) noexcept {
  static thread_local IntrusiveList<SpreadHook> to_come;
  if (spread.is_under_way && last_spread_ == spread.number) return false;
  if (!spread.is_under_way) ++spread.number;
  last_spread_ = spread.number;
  spread_reason_ = std::move(reason);
  to_come.push_back(spread_hook_);
  if (spread.is_under_way) return true;
  spread.is_under_way = true;
  while (!to_come.empty()) {
    FutureWatch& next = to_come.pop_front().watch;
    next.entries_.for_each([&](Entry& entry) {
      FutureState& future = *entry.future;
      if (future.is_done()) return;
      if (!next.cancel_one(future, future.is_awaited_by_others(&entry), next.spread_reason_)) forget(entry);
    });
    next.on_spread();
  }
  spread.is_under_way = false;
  return true;
}

EventLoop& common_loop(const std::vector<Ref<FutureState>>& futures, const char* function) {
  EventLoop& loop = futures.front()->loop();
  for (const auto& future : futures) {
    if (&future->loop() != &loop)
      throw InvalidStateError(std::string(function) + ": the futures belong to different event loops");
  }
  return loop;
}

std::vector<bool> first_appearances(const std::vector<Ref<FutureState>>& futures) {
  std::unordered_set<const FutureState*> seen;
  std::vector<bool> is_first;
  for (const auto& future : futures) is_first.push_back(seen.insert(future.get()).second);
  return is_first;
}

}  // namespace tulp::detail
