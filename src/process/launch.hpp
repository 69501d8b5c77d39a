// Launch: a child with what its standard streams are to be.  Floor 6, process.
#pragma once
#include <tulp/subprocess_transport.hpp>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "process/child.hpp"
#include "transports/byte_stream.hpp"

namespace tulp::detail {

struct Launched {
  std::shared_ptr<Child> child;
  /// Our ends of the pipes to its descriptors 0, 1 and 2.  A terminal is one pipe, under 1 if that is on it, else 0.
  std::array<std::unique_ptr<ByteStream>, 3> pipes;
};

/// Throws: std::invalid_argument - the options contradict each other.
void check_options(const std::vector<std::string>& args, const SubprocessOptions& options);
/// Whether 0 and 1 of the child are one terminal.
bool shares_terminal(const SubprocessOptions& options) noexcept;
/// Throws: OsError, std::invalid_argument; nothing has happened then.
Launched launch(EventLoop& loop, const std::vector<std::string>& args, const SubprocessOptions& options);

}  // namespace tulp::detail
