// tulp: network tools on tulp's fibers, one file per subcommand.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>
#include <tulp/run.hpp>

#include <CLI/CLI.hpp>
#include <exception>
#include <string>

#include "command.hpp"
#include "command_line.hpp"
#include "output.hpp"
#include "terminal.hpp"
#include "termination.hpp"

namespace {

using namespace tool;

constexpr const char* help_text = R"(Examples: tulp fetch https://example.org/
          tulp help fetch

"tulp COMMAND --help" says what a command takes, with examples, and what its exit codes mean.  Output is coloured on a
terminal, unless NO_COLOR is set or TERM is dumb.  A reader of the output that goes away ends a command quietly; a
full disk is an error.

Exit codes of all commands, beside those of their own:
   0  all went well
   1  something failed
   2  bad arguments, which are told in one line
  23  the output could not be written
 130  interrupted (Ctrl-C); 143: terminated)";

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

/// --help and --version come here too, as CLI11 has it.
int report(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() != 0) {
    const std::string what = explain(app, error);
    complain(name_of_chosen(app), what + (what.ends_with('?') ? " --help says more" : "; --help says more"));
    return static_cast<int>(ExitCode::bad_arguments);
  }
  const bool is_version = dynamic_cast<const CLI::CallForVersion*>(&error) != nullptr;
  return static_cast<int>(run(
      [&] {
        write_all(STDOUT_FILENO, is_version ? error.what() + std::string("\n") : app.help(), "stdout");
        return ExitCode::ok;
      },
      name_of_chosen(app)));
}

int run_until_terminated(const Command& command, const std::string& name) {
  const Termination termination;
  complain_for_loop(name);
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
  app.footer(help_text);
  app.require_subcommand(0, 1);  // that there is one is checked below: the other errors say more
  prepare(app);
  Command command;
  add_fetch(app, command);
  add_crawl(app, command);
  add_echo(app, command);
  add_nc(app, command);
  add_proxy(app, command);
  add_run(app, command);
  add_port_check(app, command);
  add_serve(app, command);
  add_bench(app, command);
  add_demo(app, command);
  add_help(app, command);
  add_reference(app, command);
  complete(app);
  try {
    app.parse(argc, argv);
    if (!command) throw CLI::RequiredError("A command");
  } catch (const CLI::ParseError& error) {
    return report(app, error);
  }
  return tulp::run_main([&] { return run_until_terminated(command, name_of_chosen(app)); });
}
