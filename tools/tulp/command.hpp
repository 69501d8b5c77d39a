// The subcommands of tulp: each adds itself to the command line, and is what runs if it is chosen.
#pragma once
#include <functional>

#include "exit_code.hpp"

namespace CLI {
class App;
}

namespace tool {

/// Runs in a fiber.  What it throws becomes one line on stderr.
using Command = std::function<ExitCode()>;

// Each sets `chosen` while the command line is parsed, if the command line names it.
void add_bench(CLI::App& app, Command& chosen);
void add_crawl(CLI::App& app, Command& chosen);
void add_demo(CLI::App& app, Command& chosen);
void add_echo(CLI::App& app, Command& chosen);
void add_fetch(CLI::App& app, Command& chosen);
void add_nc(CLI::App& app, Command& chosen);
void add_port_check(CLI::App& app, Command& chosen);
void add_proxy(CLI::App& app, Command& chosen);
void add_run(CLI::App& app, Command& chosen);
void add_serve(CLI::App& app, Command& chosen);

}  // namespace tool
