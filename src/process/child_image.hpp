// ChildImage: everything that a child is to be, made before it is.  Floor 6, process.
#pragma once
#include <tulp/subprocess_transport.hpp>

#include <cstddef>
#include <string>
#include <vector>

#include "base/unique_fd.hpp"
#include "process/child_body.hpp"

namespace tulp::detail {

struct StartedChild {
  pid_t pid;
  UniqueFd pidfd;  // none where the system has none
};

class ChildImage {
 public:
  /// `args` and `options` have been checked.  Throws: OsError - there is no such user or group.
  ChildImage(const std::vector<std::string>& args, const SubprocessOptions& options);

  /// Of several for one number the last one holds.
  void add_fd(int from, int to);
  /// Descriptor `to` is a terminal, which becomes the session's.
  void set_terminal(int to) noexcept { body_.terminal = to; }

  /// Once.  The thread waits until the child has become its program.
  /// Throws: OsError - it has not, and nothing of it is left.
  StartedChild start();

 private:
  void set_environment(const SubprocessOptions& options);
  void set_programs(const std::string& program);
  void set_user_and_groups(const SubprocessOptions& options);
  std::string description_of_failure() const;

  ChildBody body_;
  std::vector<std::string> args_;
  std::vector<std::string> environment_;
  std::vector<std::string> programs_;
  std::vector<char*> argument_pointers_;
  std::vector<char*> environment_pointers_;
  std::vector<const char*> program_pointers_;
  std::vector<FdMove> moves_;
  std::vector<gid_t> groups_;
  std::string program_;
  std::string directory_;
  std::string user_, group_;
};

}  // namespace tulp::detail
