#include "process/child_image.hpp"

#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include <tulp/error.hpp>

extern char** environ;  // NOLINT: POSIX has it declared by the program

namespace tulp::detail {
namespace {

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

template <class Id>
std::optional<Id> as_number(const std::string& text) {
  Id id{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(id) : std::nullopt;
}

/// Asks getpwnam_r or getgrnam_r, with as much memory as they want.
template <class Entry, class Look>
Entry find_entry(const char* kind, const std::string& name, std::vector<char>& memory, Look look) {
  Entry entry{};
  Entry* found = nullptr;
  for (memory.resize(1024);; memory.resize(memory.size() * 2)) {
    const int error = look(name.c_str(), &entry, memory.data(), memory.size(), &found);
    if (error == ERANGE) continue;
    if (error != 0) throw_os_error(error, std::string(kind) + ' ' + name);
    if (found == nullptr) throw_os_error(EINVAL, std::string("there is no ") + kind + ' ' + name);
    return entry;
  }
}

uid_t user_of(const std::string& text) {
  if (const auto id = as_number<uid_t>(text)) return *id;
  std::vector<char> memory;
  return find_entry<passwd>("user", text, memory, ::getpwnam_r).pw_uid;
}

gid_t group_of(const std::string& text) {
  if (const auto id = as_number<gid_t>(text)) return *id;
  std::vector<char> memory;
  return find_entry<::group>("group", text, memory, ::getgrnam_r).gr_gid;
}

/// The child's own: a fiber's might be too small, and what the child leaves there would be somebody's.
class ChildStack {
 public:
  ChildStack() : memory_(sys.mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) throw_os_error(errno, "memory for a child's stack");
  }
  ChildStack(const ChildStack&) = delete;
  ChildStack& operator=(const ChildStack&) = delete;
  ~ChildStack() { sys.munmap(memory_, size_bytes); }
  void* end() const noexcept { return static_cast<char*>(memory_) + size_bytes; }

 private:
  static constexpr std::size_t size_bytes = 64 * 1024;
  void* memory_;
};

/// No handler runs in the child, which would be in our memory, and nothing cancels the thread while it waits.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;
  ~AllSignalsBlocked() {
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    ::pthread_setcancelstate(cancel_state_, nullptr);
  }

 private:
  sigset_t before_;
  int cancel_state_ = 0;
};

int highest_possible_fd() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 1 << 20;
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1 << 20));
}

}  // namespace

ChildImage::ChildImage(const std::vector<std::string>& args, const SubprocessOptions& options)
    : args_(args), directory_(options.cwd), user_(options.user), group_(options.group) {
  argument_pointers_ = pointers_to(args_);
  body_.arguments = argument_pointers_.data();
  set_environment(options);
  set_programs(options.executable.empty() ? args_.front() : options.executable);
  if (!directory_.empty()) body_.directory = directory_.c_str();
  body_.highest_fd = highest_possible_fd();
  body_.resets_ignored_signals = options.restore_signals;
  body_.starts_session = options.start_new_session || options.pty;
  body_.sets_process_group = options.process_group.has_value();
  body_.process_group = options.process_group.value_or(0);
  body_.sets_umask = options.umask.has_value();
  body_.umask = options.umask.value_or(0);
  set_user_and_groups(options);
}

void ChildImage::set_environment(const SubprocessOptions& options) {
  std::map<std::string, std::string> variables;
  if (options.env) {
    variables = *options.env;
  } else {
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
      const std::string_view text = *entry;
      const std::size_t end_of_name = std::min(text.find('='), text.size());
      if (end_of_name < text.size()) variables.emplace(text.substr(0, end_of_name), text.substr(end_of_name + 1));
    }
  }
  for (const auto& [name, value] : options.env_changes) {
    if (value)
      variables[name] = *value;
    else
      variables.erase(name);
  }
  for (const auto& [name, value] : variables) environment_.push_back(name + '=' + value);
  environment_pointers_ = pointers_to(environment_);
  body_.environment = environment_pointers_.data();
}

/// As execvpe(3) looks for it, but in the child's own PATH, and without a shell for what is no program.
void ChildImage::set_programs(const std::string& program) {
  program_ = program;
  if (program.find('/') != std::string::npos) {
    programs_.push_back(program);
  } else if (!program.empty()) {
    const auto path = std::find_if(environment_.begin(), environment_.end(),
                                   [](const std::string& entry) { return entry.starts_with("PATH="); });
    std::string_view folders = "/bin:/usr/bin";
    if (path != environment_.end()) folders = std::string_view(*path).substr(5);
    for (std::size_t begin = 0; begin <= folders.size();) {
      const std::size_t end = std::min(folders.find(':', begin), folders.size());
      const std::string folder(folders.substr(begin, end - begin));
      programs_.push_back(folder.empty() ? "./" + program : folder + '/' + program);
      begin = end + 1;
    }
  }
  for (const std::string& one : programs_) program_pointers_.push_back(one.c_str());
  program_pointers_.push_back(nullptr);
  body_.programs = program_pointers_.data();
}

void ChildImage::set_user_and_groups(const SubprocessOptions& options) {
  if (options.extra_groups) {
    for (const std::string& name : *options.extra_groups) groups_.push_back(group_of(name));
    body_.sets_groups = true;
    body_.groups = groups_.data();
    body_.group_count = groups_.size();
  }
  body_.sets_group = !options.group.empty();
  if (body_.sets_group) body_.group = group_of(options.group);
  body_.sets_user = !options.user.empty();
  if (body_.sets_user) body_.user = user_of(options.user);
}

void ChildImage::add_fd(int from, int to) {
  const auto place = std::lower_bound(moves_.begin(), moves_.end(), to,
                                      [](const FdMove& move, int number) { return move.to < number; });
  if (place != moves_.end() && place->to == to)
    place->from = from;
  else
    moves_.insert(place, {from, to});
}

StartedChild ChildImage::start() {
  body_.moves = moves_.data();
  body_.move_count = moves_.size();
  int pidfd = -1;
  pid_t pid = -1;
  int error = 0;
  {
    const ChildStack stack;
    const AllSignalsBlocked blocked;
    pid = sys.start_child(run_child, &body_, stack.end(), &pidfd);
    error = errno;
  }
  if (pid < 0) throw_os_error(error, "start of " + program_);
  StartedChild child{pid, UniqueFd(pidfd)};
  if (body_.failed_step == ChildBody::Step::none) return child;
  siginfo_t unused;
  retry_on_eintr([&] { return sys.waitid(P_PID, static_cast<id_t>(pid), &unused, WEXITED); });
  throw_os_error(body_.error_number, description_of_failure());
}

std::string ChildImage::description_of_failure() const {
  using Step = ChildBody::Step;
  switch (body_.failed_step) {
    case Step::none: break;
    case Step::session: return "setsid for " + program_;
    case Step::process_group: return "setpgid " + std::to_string(body_.process_group) + " for " + program_;
    case Step::terminal: return "terminal for " + program_;
    case Step::descriptor: return "descriptor " + std::to_string(body_.failed_fd) + " for " + program_;
    case Step::directory: return "chdir " + directory_;
    case Step::groups: return "setgroups for " + program_;
    case Step::group: return "setgid " + group_;
    case Step::user: return "setuid " + user_;
    case Step::program: return "execve " + program_;
  }
  return "start of " + program_;
}

}  // namespace tulp::detail
