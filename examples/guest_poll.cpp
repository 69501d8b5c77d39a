// You learn: tulp as a guest of a loop of your own.  Whatever can wait for a descriptor can run tulp's loop beside its own
// work; here it is poll(2).
#include <tulp/tulp.hpp>

#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <string>
#include <string_view>

namespace {

using namespace std::chrono_literals;

/// Rounded up: a guest that is asked too early has nothing to do.
int to_milliseconds(tulp::Duration timeout) {
  if (timeout.is_never()) return -1;
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(std::chrono::nanoseconds(timeout)).count());
}

/// The whole glue: what the host waits for, for how long, and what it calls then.  Ends when `own`, which is the host's,
/// does.
void run_host(tulp::EventLoop& guest, int own) {
  for (;;) {
    pollfd waits[] = {{.fd = guest.backend_fd(), .events = POLLIN, .revents = 0},
                      {.fd = own, .events = POLLIN, .revents = 0}};
    if (::poll(waits, 2, to_milliseconds(guest.next_timeout())) < 0) continue;  // a signal: tulp wants to see it too
    guest.run_once(tulp::RunMode::nowait);
    if (waits[1].revents == 0) continue;
    char text[64];
    const auto size = ::read(own, text, sizeof text);
    if (size <= 0) return;
    const std::string heard(text, static_cast<std::size_t>(size));
    std::cout << "the host has heard: " << heard << std::endl;
    guest.call_soon([heard] { std::cout << "and tells its guest: " << heard << std::endl; });
  }
}

/// A task that speaks to the host by a pipe, as anything might.
void count(int host) {
  for (const std::string_view word : {"one", "two", "three"}) {
    tulp::sleep(10ms);
    if (::write(host, word.data(), word.size()) < 0) break;
  }
  tulp::sleep(10ms);
  ::close(host);
}

}  // namespace

int main() {
  int pipe_ends[2];
  if (::pipe(pipe_ends) != 0) return 1;
  const auto loop = tulp::new_event_loop();
  tulp::set_event_loop(loop.get());
  tulp::create_task(count, pipe_ends[1]);
  run_host(*loop, pipe_ends[0]);
  ::close(pipe_ends[0]);
  std::cout << "both have ended" << std::endl;
  return 0;
}
