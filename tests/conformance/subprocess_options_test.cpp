// What a child is given: semantics row 89; field notes on descriptors that leak.
#include <tulp/run.hpp>
#include <tulp/subprocess.hpp>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/unique_fd.hpp"
#include "support/children.hpp"

using namespace tulp;
using namespace tulp::test;

namespace {

class Options : public ChildTest {
 public:
  std::string output_of(const std::vector<std::string>& args, SubprocessOptions options = {}) {
    options.stdout_ = PIPE;
    return run([&] { return create_subprocess_exec(args, options).communicate().stdout_; });
  }
  std::string output_of_shell(const std::string& command, const SubprocessOptions& options = {}) {
    return output_of({"/bin/sh", "-c", command}, options);
  }
  std::string error_of(const std::vector<std::string>& args, const SubprocessOptions& options) {
    return run([&] {
      try {
        create_subprocess_exec(args, options).wait();
      } catch (const OsError& error) {
        return std::string(error.what());
      }
      return std::string("none");
    });
  }
};

/// A file without a name.
struct Scratch {
  Scratch() : fd(::memfd_create("scratch", MFD_CLOEXEC)) {}
  std::string text() const {
    ::lseek(fd.get(), 0, SEEK_SET);
    return read_all(fd.get());
  }
  UniqueFd fd;
};

struct TemporaryFolder {
  TemporaryFolder() {
    char name[] = "/tmp/tulp-test-XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  void put(const std::string& name, const std::string& text, mode_t mode) const {
    const std::string file = path + "/" + name;
    std::ofstream(file) << text;
    ::chmod(file.c_str(), mode);
  }
  std::string path;
};

/// From now on the kernel says ENOSYS to it.
bool refuse_system_call(unsigned number) {
  sock_filter steps[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  const sock_fprog program{.len = 4, .filter = steps};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

const std::vector<std::string> list_descriptors{"/bin/sh", "-c", "cd /proc/self/fd && echo *"};

}  // namespace

TEST_CASE_METHOD(Options, "DEVNULL is nothing, a descriptor is that, STDOUT is what stdout is") {
  const Scratch file;
  CHECK(output_of({"cat"}, {.stdin_ = DEVNULL}).empty());
  CHECK(output_of_shell("echo lost >&2; echo kept", {.stderr_ = DEVNULL}) == "kept\n");
  CHECK(output_of_shell("echo kept >&2", {.stderr_ = STDOUT}) == "kept\n");
  CHECK(output_of_shell("echo error >&2; echo kept", {.stderr_ = file.fd.get()}) == "kept\n");
  CHECK(file.text() == "error\n");
  run([&] {
    Process process = create_subprocess_shell("echo out; echo err >&2", {.stdout_ = file.fd.get(), .stderr_ = STDOUT});
    CHECK(process.wait() == 0);
  });
  CHECK(file.text() == "error\nout\nerr\n");
}

TEST_CASE_METHOD(Options, "what is inherited is what this process has, STDOUT too") {
  const Scratch file;
  const UniqueFd saved(::fcntl(1, F_DUPFD_CLOEXEC, 3));
  ::dup2(file.fd.get(), 1);
  run([&] { create_subprocess_shell("echo out; echo err >&2", {.stderr_ = STDOUT}).wait(); });
  ::dup2(saved.get(), 1);
  CHECK(file.text() == "out\nerr\n");
}

TEST_CASE_METHOD(Options, "stdout and stderr of this process can be swapped") {
  const Scratch out, err;
  const UniqueFd saved1(::fcntl(1, F_DUPFD_CLOEXEC, 3)), saved2(::fcntl(2, F_DUPFD_CLOEXEC, 3));
  ::dup2(out.fd.get(), 1);
  ::dup2(err.fd.get(), 2);
  run([&] { create_subprocess_shell("echo out; echo err >&2", {.stdout_ = 2, .stderr_ = 1}).wait(); });
  ::dup2(saved1.get(), 1);
  ::dup2(saved2.get(), 2);
  CHECK(out.text() == "err\n");
  CHECK(err.text() == "out\n");
}

TEST_CASE_METHOD(Options, "pipes work where this process has its standard streams closed") {
  const UniqueFd saved0(::fcntl(0, F_DUPFD_CLOEXEC, 3)), saved1(::fcntl(1, F_DUPFD_CLOEXEC, 3)),
      saved2(::fcntl(2, F_DUPFD_CLOEXEC, 3));
  for (const int fd : {0, 1, 2}) ::close(fd);
  ProcessOutput all, some;
  run([&] {
    all = create_subprocess_shell("cat; echo err >&2", {.stdin_ = PIPE, .stdout_ = PIPE, .stderr_ = PIPE})
              .communicate("out\n");
    some = create_subprocess_exec(list_descriptors, {.stdout_ = PIPE}).communicate();
  });
  ::dup2(saved0.get(), 0);
  ::dup2(saved1.get(), 1);
  ::dup2(saved2.get(), 2);
  CHECK(all.stdout_ == "out\n");
  CHECK(all.stderr_ == "err\n");
  CHECK(some.stdout_.find('1') != std::string::npos);
}

TEST_CASE_METHOD(Options, "no descriptor but the standard ones reaches a child, whatever is open and however") {
  std::vector<UniqueFd> open;
  for (int i = 0; i < 200; ++i) open.emplace_back(::socket(AF_UNIX, SOCK_STREAM, 0));       // no O_CLOEXEC
  CHECK(output_of(list_descriptors, {.stdin_ = PIPE, .stderr_ = DEVNULL}) == "0 1 2 3\n");  // 3 is the listing itself
}

TEST_CASE_METHOD(Options, "descriptors are passed by number, by other numbers, and in each other's place") {
  const Scratch a, b;
  CHECK(::write(a.fd.get(), "a", 1) == 1);
  CHECK(::write(b.fd.get(), "b", 1) == 1);
  const int fd_a = a.fd.get(), fd_b = b.fd.get();
  const auto read = [](int fd) { return "cat /proc/self/fd/" + std::to_string(fd) + ";"; };
  CHECK(output_of_shell(read(fd_a) + read(fd_b), {.pass_fds = {fd_a, fd_b}}) == "ab");
  CHECK(output_of_shell(read(fd_b) + read(fd_a), {.pass_fds = {{fd_a, fd_b}, {fd_b, fd_a}}}) == "ab");
  CHECK(output_of_shell(read(9) + read(50) + read(7), {.pass_fds = {{fd_a, 9}, {fd_b, 50}, {fd_a, 7}}}) == "aba");
  CHECK(output_of(list_descriptors, {.stdin_ = DEVNULL, .stderr_ = DEVNULL, .pass_fds = {{fd_a, 9}, {fd_b, 50}}}) ==
        "0 1 2 3 50 9\n");
  CHECK((::fcntl(fd_a, F_GETFD) & FD_CLOEXEC) != 0);
}

TEST_CASE("where the system has no close_range(2), descriptors are closed one by one") {
  const UniqueFd open(::fcntl(0, F_DUPFD, 100));
  const auto end = run_in_child([] {
    const rlimit few{.rlim_cur = 200, .rlim_max = 200};
    if (::setrlimit(RLIMIT_NOFILE, &few) != 0 || !refuse_system_call(436)) std::_Exit(8);
    const auto listed = tulp::run([] {
      return create_subprocess_exec(list_descriptors, {.stdin_ = DEVNULL, .stdout_ = PIPE, .stderr_ = DEVNULL})
          .communicate()
          .stdout_;
    });
    std::fputs(listed.c_str(), stderr);
    std::_Exit(0);
  });
  CHECK(end.errors == "0 1 2 3\n");
}

TEST_CASE_METHOD(Options, "the environment is this process's, a changed one, or another one") {
  ::setenv("TULP_TEST_A", "a", 1);
  CHECK(output_of_shell("echo $TULP_TEST_A") == "a\n");
  CHECK(output_of_shell("echo $TULP_TEST_A-$B", {.env_changes = {{"TULP_TEST_A", std::nullopt}, {"B", "b=c"}}}) ==
        "-b=c\n");
  CHECK(output_of({"/usr/bin/env"}, {.env = std::map<std::string, std::string>{{"X", "y"}}}) == "X=y\n");
  CHECK(output_of({"/usr/bin/env"}, {.env = std::map<std::string, std::string>{{"X", "y"}, {"Z", ""}},
                                     .env_changes = {{"X", std::nullopt}}}) == "Z=\n");
  ::unsetenv("TULP_TEST_A");
}

TEST_CASE_METHOD(Options, "a program is looked for in the child's own PATH, as execvpe(3) does") {
  const TemporaryFolder folder;
  folder.put("program", "#!/bin/sh\necho found\n", 0755);
  folder.put("forbidden", "#!/bin/sh\n", 0644);
  folder.put("unknown", "echo no interpreter\n", 0755);
  const auto path = [](const std::string& value) -> SubprocessOptions { return {.env_changes = {{"PATH", value}}}; };
  CHECK(output_of({"program"}, path("/nosuch:" + folder.path + ":/bin")) == "found\n");
  CHECK(output_of({"program"}, {.cwd = folder.path, .env_changes = {{"PATH", "/bin:"}}}) == "found\n");
  CHECK(output_of({"./program"}, {.cwd = folder.path}) == "found\n");
  CHECK(output_of({"echo", "default"}, {.env = std::map<std::string, std::string>()}) == "default\n");
  CHECK(error_of({"program"}, path("/nosuch")) == "execve program: No such file or directory");
  CHECK(error_of({"forbidden"}, path(folder.path + ":/bin")) == "execve forbidden: Permission denied");
  CHECK(error_of({"unknown"}, path(folder.path)) == "execve unknown: Exec format error");
}

TEST_CASE_METHOD(Options, "a child begins in a directory, with a mask, as another program than it is told") {
  const TemporaryFolder folder;
  CHECK(output_of({"pwd"}, {.cwd = folder.path}) == folder.path + "\n");
  CHECK(output_of_shell("umask", {.umask = 027}) == "0027\n");
  CHECK(output_of({"other name", "-c", "echo $0"}, {.executable = "/bin/sh"}) == "other name\n");
}

TEST_CASE_METHOD(Options, "a child leads a session or a group, or joins one") {
  const std::string ids = "cut -d' ' -f5,6 /proc/$$/stat; echo $$";
  const auto of = [&](const SubprocessOptions& options) {
    const std::string text = output_of_shell(ids, options);
    int group = 0, session = 0, pid = 0;
    CHECK(std::sscanf(text.c_str(), "%d %d %d", &group, &session, &pid) == 3);
    return std::array{group == pid, session == pid, group == ::getpgrp()};
  };
  CHECK(of({}) == std::array{false, false, true});
  CHECK(of({.start_new_session = true}) == std::array{true, true, false});
  CHECK(of({.process_group = 0}) == std::array{true, false, false});
  run([&] {
    Process leader = create_subprocess_exec({"cat"}, {.stdin_ = PIPE, .process_group = 0});
    Process member = create_subprocess_shell(ids, {.stdout_ = PIPE, .process_group = leader.pid()});
    CHECK_THAT(member.communicate().stdout_, Catch::StartsWith(std::to_string(leader.pid()) + " "));
    leader.stdin_().close();
    leader.wait();
  });
  CHECK_THAT(error_of({"true"}, {.process_group = 1}), Catch::StartsWith("setpgid 1 for true: "));
}

TEST_CASE_METHOD(Options, "a child has another user and other groups, if this process may give them") {
  const std::string ids = "id -u; id -g; id -G";
  if (::geteuid() == 0) {
    CHECK(output_of_shell(ids, {.user = "65534", .group = "65534", .extra_groups = std::vector<std::string>{"1"}}) ==
          "65534\n65534\n65534 1\n");
    CHECK(output_of_shell("id -un", {.user = "nobody"}) == "nobody\n");
  } else {
    CHECK_THAT(error_of({"true"}, {.user = "0"}), Catch::StartsWith("setuid 0: "));
    CHECK_THAT(error_of({"true"}, {.group = "0"}), Catch::StartsWith("setgid 0: "));
  }
}

TEST_CASE_METHOD(Options, "a child has no signal blocked or ignored, whatever this process has") {
  const auto former = ::signal(SIGHUP, SIG_IGN);
  sigset_t blocked, before;
  ::sigemptyset(&blocked);
  ::sigaddset(&blocked, SIGUSR2);
  ::pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const std::string masks = "grep -E 'SigBlk|SigIgn' /proc/self/status | cut -f2 | tr '\\n' ' '";
  CHECK(output_of_shell(masks) == "0000000000000000 0000000000000000 ");
  const std::string kept = output_of_shell(masks, {.restore_signals = false});
  CAPTURE(kept);
  const auto ignored = std::stoull(kept.substr(kept.find(' ')), nullptr, 16);  // whoever started us may ignore more
  CHECK((ignored & 1) == 1);                                                   // SIGHUP is bit 0
  sigset_t after;
  ::pthread_sigmask(SIG_SETMASK, &before, &after);
  CHECK(::sigismember(&after, SIGUSR2) == 1);
  ::signal(SIGHUP, former);
}

TEST_CASE_METHOD(Options, "handlers of this process do not run in a child, not even on its way to its program") {
  static std::atomic<int> calls = 0;
  struct sigaction action {
  }, former{};
  action.sa_handler = [](int) { ++calls; };
  ::sigaction(SIGALRM, &action, &former);
  run([&] {
    for (int i = 0; i < 20; ++i) {
      Process process = create_subprocess_exec({"sleep", "1000"});
      process.send_signal(SIGALRM);
      CHECK(process.wait() == -SIGALRM);
    }
  });
  ::sigaction(SIGALRM, &former, nullptr);
  CHECK(calls == 0);
}

TEST_CASE_METHOD(Options, "the non-blocking pipes are ours alone: the child's ends block") {
  CHECK(output_of_shell("cat /proc/self/fdinfo/0 /proc/self/fdinfo/1 | grep flags | tr -d '\\n'", {.stdin_ = PIPE})
            .find("4000") == std::string::npos);
}
