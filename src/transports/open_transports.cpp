#include "transports/open_transports.hpp"

#include <climits>

#include "events/live_loops.hpp"

namespace tulp::detail {
namespace {

constexpr unsigned dropped_writes_before_warning = 5;

#ifdef IOV_MAX
constexpr std::size_t most_views = IOV_MAX;
#else
constexpr std::size_t most_views = 16;  // what every system takes
#endif

}  // namespace

void OpenTransport::report_failure(EventLoop& loop, const char* method) const noexcept {
  loop.call_exception_handler(
      context_of_failure(std::string("a protocol's ") + method + " failed", "transport to " + peer()));
}

void OpenTransport::drop_write(EventLoop& loop, const char* method) noexcept {
  if (++dropped_write_count_ == dropped_writes_before_warning)
    loop.call_exception_handler(
        {.message = std::string(method) + "() keeps being called after the connection to " + peer() + " was lost"});
}

void OpenTransport::abort_with_report(EventLoop& loop) {
  if (const std::size_t unsent = get_write_buffer_size())
    loop.call_exception_handler({.message = std::to_string(unsent) + " bytes to " + peer() + " were not sent"});
  abort();
}

void OpenTransports::shut_down(Shutdown phase) {
  if (phase == Shutdown::refuse) return;
  IntrusiveList<OpenTransport> left;  // one that ends may take others with it
  left.take(open_);
  while (!left.empty()) {
    OpenTransport& transport = left.pop_front();
    open_.push_back(transport);
    if (phase == Shutdown::finish)
      transport.close_without_leave();
    else
      transport.abort_with_report(loop_);
  }
}

std::span<iovec> OpenTransports::views() {
  if (views_ == nullptr) views_ = std::make_unique_for_overwrite<iovec[]>(most_views);
  return {views_.get(), most_views};
}

}  // namespace tulp::detail
