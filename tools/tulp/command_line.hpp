// The command line as a whole: what all subcommands have in common, and what is said of one that is wrong.
#pragma once
#include <CLI/CLI.hpp>
#include <string>

#include "command.hpp"

namespace tool {

/// Before subcommands are added: how they are to look in --help.
void prepare(CLI::App& app);
/// After that: --version for each, and the exit codes of those that do not tell of their own.
void complete(CLI::App& app);

/// What is wrong, in one line, with what was meant if that can be guessed.
std::string explain(const CLI::App& app, const CLI::ParseError& error);

/// tulp help COMMAND.
void add_help(CLI::App& app, Command& chosen);
/// What the build makes manual pages and completion files with; nobody else needs it, so that no help speaks of it.
void add_reference(CLI::App& app, Command& chosen);

}  // namespace tool
