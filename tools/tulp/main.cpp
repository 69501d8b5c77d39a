// tulp: network tools on tulp's fibers, one file per subcommand.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <tulp/run.hpp>

#include <CLI/CLI.hpp>
#include <exception>
#include <string>

#include "command.hpp"
#include "output.hpp"
#include "terminal.hpp"
#include "termination.hpp"

namespace {

using namespace tool;

/// So that no socket gets the number of a standard stream that our parent has closed.  What is used the wrong way round
/// fails, as it would closed.
void occupy_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) < 0) ::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

/// "tulp fetch", or "tulp" as long as nothing is chosen.
std::string name_of_chosen(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? "tulp" : "tulp " + chosen.front()->get_name();
}

/// --help and --version come here too, as CLI11 has it.
int report(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);
  complain(name_of_chosen(app), error.what() + std::string("; --help says more"));
  return static_cast<int>(ExitCode::bad_arguments);
}

ExitCode run(const Command& command, const std::string& name) {
  try {
    return command();
  } catch (const WriteError& error) {
    if (!error.is_broken_pipe()) complain(name, error.what());
    return error.code();
  } catch (const Failure& failure) {
    complain(name, failure.what());
    return failure.code();
  } catch (const std::exception& error) {
    complain(name, error.what());
    return ExitCode::failed;
  }
}

int run_until_terminated(const Command& command, const std::string& name) {
  const Termination termination;
  try {
    return static_cast<int>(run(command, name));
  } catch (const tulp::CancelledError&) {
    if (!termination.was_asked()) throw;
    return Termination::exit_code;
  }
}

}  // namespace

int main(int argc, char** argv) {
  occupy_standard_streams();
  ::signal(SIGPIPE, SIG_IGN);  // a write says it too, and can be answered

  CLI::App app("Network tools on fibers: one thread, thousands of connections.", "tulp");
  app.set_version_flag("--version", "tulp " TULP_VERSION);
  app.require_subcommand(0, 1);  // that there is one is checked below: the other errors say more
  Command command;
  add_fetch(app, command);
  add_crawl(app, command);
  add_echo(app, command);
  add_run(app, command);
  add_demo(app, command);
  try {
    app.parse(argc, argv);
    if (!command) throw CLI::RequiredError("A subcommand");
  } catch (const CLI::ParseError& error) {
    return report(app, error);
  }
  return tulp::run_main([&] { return run_until_terminated(command, name_of_chosen(app)); });
}
