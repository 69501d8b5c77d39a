// ChildBody: what a new process does until it has become another program.  Floor 6, process.
#pragma once
#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace tulp::detail {

/// One descriptor of the child, `to`, and what of the parent's it is.
struct FdMove {
  int from;
  int to;
};

/// Everything that run_child() needs, in memory that stays as it is meanwhile: the child borrows all of the parent's, and
/// must not ask for any.
struct ChildBody {
  enum class Step : std::uint8_t {
    none,
    session,
    process_group,
    terminal,
    descriptor,
    directory,
    groups,
    group,
    user,
    program,
  };

  const char* const* programs = nullptr;  // one after another, until one can be executed; ends with null
  char* const* arguments = nullptr;
  char* const* environment = nullptr;
  const char* directory = nullptr;
  FdMove* moves = nullptr;  // by `to`, each of which is there once
  std::size_t move_count = 0;
  int highest_fd = 0;  // that may be open
  int terminal = -1;   // the child's own number
  bool resets_ignored_signals = true;
  bool starts_session = false;
  bool sets_process_group = false;
  bool sets_groups = false;
  bool sets_group = false;
  bool sets_user = false;
  bool sets_umask = false;
  pid_t process_group = 0;
  const gid_t* groups = nullptr;
  std::size_t group_count = 0;
  gid_t group = 0;
  uid_t user = 0;
  mode_t umask = 0;

  // What went wrong; written by the child.
  Step failed_step = Step::none;
  int error_number = 0;
  int failed_fd = -1;  // the parent's
};

/// For SystemCalls::start_child(), with a ChildBody.  Every signal is blocked.
int run_child(void* body) noexcept;

}  // namespace tulp::detail
