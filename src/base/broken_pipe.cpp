#include "base/broken_pipe.hpp"

#include <csignal>

#include "base/sys.hpp"

namespace tulp {

void ignore_broken_pipes() noexcept {
  struct sigaction present {};
  if (sys.sigaction(SIGPIPE, nullptr, &present) != 0 || present.sa_handler != SIG_DFL) return;
  present.sa_handler = SIG_IGN;
  sys.sigaction(SIGPIPE, &present, nullptr);
}

}  // namespace tulp
