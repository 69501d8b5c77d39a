// What shells offer when somebody presses the tabulator.
#include <algorithm>
#include <string>
#include <string_view>

#include "reference/page.hpp"

namespace tool::reference {
namespace {

/// "fetch" of "tulp fetch".
std::string word_of(const Page& page) { return page.name.substr(page.name.rfind(' ') + 1); }

std::vector<Page> commands_of(const std::vector<Page>& pages) { return {pages.begin() + 1, pages.end()}; }

/// In single quotes.
std::string in_quotes(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::vector<std::string> all_names(const Page& page) {
  std::vector<std::string> names;
  for (const Option& option : page.options) names.insert(names.end(), option.names.begin(), option.names.end());
  for (const Page& command : page.commands) names.push_back(command.name);
  return names;
}

/// What stands for all words that are no options; null if there are none.
const Option* argument_of(const Page& page) { return page.arguments.empty() ? nullptr : &page.arguments.back(); }

std::string bash_action(const Option& option) {
  switch (option.value) {
    case Value::choice: return "COMPREPLY=($(compgen -W " + in_quotes(join(option.choices, " ")) + " -- \"$current\"))";
    case Value::file: return "compopt -o default";
    case Value::directory: return "compopt -o dirnames";
    default: return ":";
  }
}

std::string bash_case(const Page& page) {
  std::string out = "    " + word_of(page) + ")\n      case $previous in\n";
  for (const Option& option : page.options) {
    if (option.value == Value::none) continue;
    out += "        " + join(option.names, " | ") + ") " + bash_action(option) + "; return ;;\n";
  }
  out += "      esac\n      words=" + in_quotes(join(all_names(page), " ")) + "\n";
  const Option* argument = argument_of(page);
  const bool is_offered = argument != nullptr && argument->value >= Value::file;
  if (is_offered) out += "      [[ $current == -* ]] || { " + bash_action(*argument) + "; return; }\n";
  return out + "      ;;\n";
}

/// Inside of a specification of zsh's _arguments.
std::string zsh_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("[]:\\").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string zsh_action(const Option& option) {
  switch (option.value) {
    case Value::choice: return "(" + join(option.choices, " ") + ")";
    case Value::file: return "_files";
    case Value::directory: return "_files -/";
    default: return "";
  }
}

/// The value may stand in the same word: "-oFILE", "--output=FILE".
std::vector<std::string> zsh_names(const Option& option) {
  std::vector<std::string> names = option.names;
  if (option.value == Value::none) return names;
  for (std::string& name : names) name += name.starts_with("--") ? "=" : "+";
  return names;
}

std::string zsh_option(const Option& option) {
  const std::vector<std::string> names = zsh_names(option);
  std::string out = option.is_repeated ? "'*'" : in_quotes("(" + join(option.names, " ") + ")");
  out += names.size() > 1 ? "{" + join(names, ",") + "}" : names.front();
  std::string rest = "[" + zsh_escaped(option.text) + "]";
  if (option.value != Value::none) rest += ":" + zsh_escaped(option.placeholder) + ":" + zsh_action(option);
  return out + in_quotes(rest);
}

/// What has no action is a message, beside which zsh shows options and inserts none.
std::string zsh_argument_action(const Option& argument) {
  const std::string action = zsh_action(argument);
  return action.empty() ? "( )" : action;
}

std::string zsh_arguments(const Page& page, const std::string& indent) {
  std::string out;
  for (const Option& option : page.options) out += " \\\n" + indent + zsh_option(option);
  for (const Option& argument : page.arguments) {
    out += " \\\n" + indent +
           in_quotes((argument.is_repeated ? "*:" : ":") + zsh_escaped(argument.names.front()) + ":" +
                     zsh_argument_action(argument));
  }
  return out;
}

std::string fish_values(const Option& option) {
  switch (option.value) {
    case Value::choice: return " -f -a " + in_quotes(join(option.choices, " "));
    case Value::directory: return " -f -a '(__fish_complete_directories)'";
    default: return " -F";
  }
}

std::string fish_option(const Option& option) {
  std::string out;
  for (const std::string& name : option.names) {
    const bool is_long = name.starts_with("--");
    out += (is_long ? " -l " : " -s ") + name.substr(is_long ? 2 : 1);
  }
  const bool has_value = option.value != Value::none;
  out += !has_value ? "" : option.value >= Value::file ? " -r" + fish_values(option) : " -x";
  return out + " -d " + in_quotes(option.text);
}

}  // namespace

std::string to_bash(const std::vector<Page>& pages) {
  std::string out = R"(# What bash offers for tulp.
_tulp() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command=tulp words= i
  COMPREPLY=()
  if [[ $current == '=' ]]; then  # --option=VALUE is three words
    current=
  elif [[ $previous == '=' ]]; then
    previous=${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; ++i)); do
    [[ ${COMP_WORDS[i]} == -* ]] || { command=${COMP_WORDS[i]}; break; }
  done
  case $command in
)";
  for (const Page& page : pages) out += bash_case(page);
  return out + R"(  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _tulp tulp
)";
}

std::string to_zsh(const std::vector<Page>& pages) {
  std::string out = R"(#compdef tulp
# What zsh offers for tulp.
_tulp() {
  local context state state_descr line
  typeset -A opt_args
  local -a commands=(
)";
  for (const Page& page : commands_of(pages)) {
    out += "    " + in_quotes(zsh_escaped(word_of(page)) + ":" + zsh_escaped(page.summary)) + "\n";
  }
  out += "  )\n  _arguments -C" + zsh_arguments(pages.front(), "    ") + R"( \
    '1:command:->command' \
    '*::argument:->argument' && return
  case $state in
    command) _describe command commands ;;
    argument)
      case $words[1] in
)";
  for (const Page& page : commands_of(pages)) {
    out += "        " + word_of(page) + ") _arguments -s" + zsh_arguments(page, "          ") + " ;;\n";
  }
  return out + "      esac ;;\n  esac\n}\n_tulp \"$@\"\n";
}

std::string to_fish(const std::vector<Page>& pages) {
  std::string out = "# What fish offers for tulp.\ncomplete -c tulp -f\n";
  for (const Option& option : pages.front().options) {
    out += "complete -c tulp -n __fish_use_subcommand" + fish_option(option) + "\n";
  }
  for (const Page& page : commands_of(pages)) {
    out += "\ncomplete -c tulp -n __fish_use_subcommand -a " + word_of(page) + " -d " + in_quotes(page.summary) + "\n";
    const std::string begin = "complete -c tulp -n '__fish_seen_subcommand_from " + word_of(page) + "'";
    for (const Option& option : page.options) out += begin + fish_option(option) + "\n";
    const Option* argument = argument_of(page);
    if (argument != nullptr && argument->value >= Value::file) out += begin + fish_values(*argument) + "\n";
  }
  return out;
}

}  // namespace tool::reference
