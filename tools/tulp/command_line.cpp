#include "command_line.hpp"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string_view>
#include <vector>

#include "output.hpp"
#include "reference/page.hpp"
#include "terminal.hpp"

namespace tool {
namespace {

constexpr const char* common_exit_codes = R"(Exit codes:
   0  all went well
   1  something failed
   2  bad arguments
  23  the output could not be written
 130  interrupted (Ctrl-C); 143: terminated)";

class HelpFormatter final : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string, CLI::AppFormatMode) const override {
    return to_help(reference::read_page(*app), std::clamp<std::size_t>(width_of(STDOUT_FILENO), 40, 100));
  }
};

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* command) { return !command->get_group().empty(); });
}

/// Null if there is none.
const CLI::App* find(const CLI::App& app, const std::string& name) {
  for (const CLI::App* command : commands_of(app)) {
    if (command->get_name() == name) return command;
  }
  return nullptr;
}

/// How many letters have to be changed, added, dropped or exchanged with their neighbour.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), row(b.size() + 1), next(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    next[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      next[j] = std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      const bool are_exchanged = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (are_exchanged) next[j] = std::min(next[j], before[j - 2] + 1);
    }
    before.swap(row);
    row.swap(next);
  }
  return row.back();
}

/// ", did you mean X?", if one of the names is near.
std::string guess(std::string_view word, const std::vector<std::string>& names) {
  const std::string* nearest = nullptr;
  std::size_t least = std::min<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& name : names) {
    const std::size_t letters = distance(word, name);
    if (letters < least) nearest = &name, least = letters;
  }
  return nearest == nullptr ? "" : "; did you mean " + *nearest + "?";
}

std::vector<std::string> names_of(const std::vector<const CLI::App*>& commands) {
  std::vector<std::string> names;
  for (const CLI::App* command : commands) names.push_back(command->get_name());
  return names;
}

std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const reference::Option& option : reference::read_page(app).options) {
    names.insert(names.end(), option.names.begin(), option.names.end());
  }
  return names;
}

std::vector<reference::Page> all_pages(const CLI::App& app) {
  std::vector<reference::Page> pages = {reference::read_page(app)};
  for (const CLI::App* command : commands_of(app)) pages.push_back(reference::read_page(*command));
  return pages;
}

std::string reference_of(const CLI::App& app, const std::string& kind) {
  if (kind == "bash") return to_bash(all_pages(app));
  if (kind == "zsh") return to_zsh(all_pages(app));
  if (kind == "fish") return to_fish(all_pages(app));
  for (const reference::Page& page : all_pages(app)) {
    std::string name = page.name;
    std::replace(name.begin(), name.end(), ' ', '-');
    if (name + ".1" == kind) return to_roff(page);
  }
  throw Failure(ExitCode::bad_arguments, kind + ": there is no such file");
}

}  // namespace

void prepare(CLI::App& app) {
  app.formatter(std::make_shared<HelpFormatter>());
  app.set_help_flag("-h,--help", "Print this help");
}

void complete(CLI::App& app) {
  CLI::Option* topic = app.get_subcommand("help")->get_option("COMMAND");
  topic->type_name("{" + reference::join(names_of(commands_of(app)), ",") + "}");
  app.set_version_flag("--version", "tulp " TULP_VERSION, "Print the version");
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    command->set_version_flag("--version", "tulp " TULP_VERSION, "Print the version");
    if (reference::read_page(*command).exit_codes.empty()) {
      command->footer(command->get_footer() + "\n\n" + common_exit_codes);
    }
  }
}

std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const auto chosen = app.get_subcommands();
  const CLI::App& command = chosen.empty() ? app : *chosen.front();
  const std::vector<std::string> rest = command.remaining();
  const auto option =
      std::find_if(rest.begin(), rest.end(), [](const std::string& word) { return word.starts_with("-"); });
  if (option != rest.end() && *option != "-" && *option != "--") {
    return *option + ": there is no such option" + guess(option->substr(0, option->find('=')), options_of(command));
  }
  if (chosen.empty() && !rest.empty()) {
    return rest.front() + ": there is no such command" + guess(rest.front(), names_of(commands_of(app)));
  }
  return error.what();
}

void add_help(CLI::App& app, Command& chosen) {
  const auto name = std::make_shared<std::string>();
  CLI::App* help = app.add_subcommand("help", "Say what a command does and takes, as its --help");
  help->add_option("COMMAND", *name, "The command; without it all are listed");
  help->footer("Example: tulp help fetch");
  help->callback([&app, &chosen, name] {
    const CLI::App* command = name->empty() ? &app : find(app, *name);
    if (command == nullptr) {
      throw CLI::ValidationError(*name, "there is no such command" + guess(*name, names_of(commands_of(app))));
    }
    chosen = [command] {
      const std::size_t columns = std::clamp<std::size_t>(width_of(STDOUT_FILENO), 40, 100);
      write_all(STDOUT_FILENO, to_help(reference::read_page(*command), columns), "stdout");
      return ExitCode::ok;
    };
  });
}

void add_reference(CLI::App& app, Command& chosen) {
  const auto kind = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("reference", "Print a manual page or a completion file")->group("");
  command->add_option("FILE", *kind, "bash, zsh, fish, tulp.1 or tulp-COMMAND.1")->required();
  command->footer("Example: tulp reference tulp-fetch.1");
  command->callback([&app, &chosen, kind] {
    chosen = [&app, kind] {
      write_all(STDOUT_FILENO, reference_of(app, *kind), "stdout");
      return ExitCode::ok;
    };
  });
}

}  // namespace tool
