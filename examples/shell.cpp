// You learn: running commands.  What one prints, feeding one, several at once, and one that takes too long.
#include <tulp/tulp.hpp>

#include <chrono>
#include <csignal>
#include <iostream>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;

void print_lines() {
  auto ls = tulp::create_subprocess_exec({"ls", "/"}, {.stdout_ = tulp::PIPE});
  int count = 0;
  for (std::string& line : ls.stdout_().lines()) count += line.empty() ? 0 : 1;
  std::cout << "ls: " << count << " names, exit code " << ls.wait() << std::endl;
}

void feed() {
  auto sort = tulp::create_subprocess_exec({"sort"}, {.stdin_ = tulp::PIPE, .stdout_ = tulp::PIPE});
  std::cout << "sort: " << sort.communicate("pear\napple\nfig\n").stdout_ << std::flush;
}

void run_several() {
  std::vector<tulp::Task<std::string>> commands;
  for (const char* command : {"echo one", "echo two >&2; exit 3", "echo three | tr a-z A-Z"}) {
    commands.push_back(tulp::create_task([command] {
      auto child = tulp::create_subprocess_shell(command, {.stdout_ = tulp::PIPE, .stderr_ = tulp::STDOUT});
      const std::string output = child.communicate().stdout_;
      return output.substr(0, output.size() - 1) + ", exit code " + std::to_string(*child.returncode());
    }));
  }
  for (const auto& command : commands) std::cout << "at once: " << tulp::await(command) << std::endl;
}

void lose_patience() {
  // In a group of its own, so that what the shell has started can be stopped with it.
  auto slow = tulp::create_subprocess_shell("sleep 1000; echo done", {.stdout_ = tulp::PIPE, .process_group = 0});
  try {
    slow.communicate({}, 100ms);
  } catch (const tulp::TimeoutError&) {
    slow.send_signal_to_group(SIGTERM);
  }
  std::cout << "slow: ended by signal " << -slow.wait() << std::endl;
}

}  // namespace

int main() {
  return tulp::run_main([] {
    print_lines();
    feed();
    run_several();
    lose_patience();
  });
}
