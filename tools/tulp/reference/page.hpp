// Page: what there is to know about a command, read off its CLI::App.  --help, the manual and the completions are all made
// of it, so that they cannot differ.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace tool::reference {

/// What may stand behind an option; from `file` on a shell knows what to offer.
enum class Value { none, text, number, file, directory, choice };

struct Option {
  std::vector<std::string> names;  ///< "-o", "--output"; "URL" of an argument
  std::string placeholder;         ///< "FILE"; empty for a flag
  Value value = Value::none;
  std::vector<std::string> choices;  ///< if `value` is one of these
  std::string text;                  ///< one sentence, with the default and what it cannot go with
  bool is_required = false;
  bool is_repeated = false;

  /// "-o, --output FILE", or "[URL...]".
  std::string usage() const;
  bool is_argument() const noexcept { return names.front().front() != '-'; }
};

/// The page of a command.  A footer is made of paragraphs: one begins with "Example:" or "Examples:", one with "Exit code",
/// and the others are notes.
struct Page {
  std::string name;  ///< "tulp fetch"
  std::string summary;
  std::vector<Option> arguments;
  std::vector<Option> options;
  std::vector<Page> commands;           ///< without theirs
  std::vector<std::string> notes;       ///< paragraphs, as they were written
  std::vector<std::string> examples;    ///< lines
  std::vector<std::string> exit_codes;  ///< lines

  /// "tulp fetch [OPTIONS] URL...".
  std::string usage() const;
};

Page read_page(const CLI::App& app);

/// What is said to somebody who asks with --help.
std::string to_help(const Page& page, std::size_t columns);
/// A manual page of section 1, for man(1).
std::string to_roff(const Page& page);

// Completion files; `pages` are those of all commands, that of the program first.
std::string to_bash(const std::vector<Page>& pages);
std::string to_zsh(const std::vector<Page>& pages);
std::string to_fish(const std::vector<Page>& pages);

/// `text` in lines of at most so many columns.
std::vector<std::string> wrap(const std::string& text, std::size_t columns);
/// Whether it is laid out as it is to stay: a line of it is indented.
bool is_laid_out(const std::string& paragraph);
std::string join(const std::vector<std::string>& parts, const std::string& between);

}  // namespace tool::reference
