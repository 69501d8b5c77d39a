#include "reference/page.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>
#include <sstream>

namespace tool::reference {
namespace {

/// CLI11 has the type, and behind a colon what checks it: "TEXT:{tcp,udp}".
std::string type_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type.substr(0, type.find(':'));
}

std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const std::size_t begin = type.find('{'), end = type.find('}');
  if (begin == type.npos || end == type.npos) return {};
  return CLI::detail::split(type.substr(begin + 1, end - begin - 1), ',');
}

bool takes_value(const CLI::Option& option) { return option.get_expected_max() > 0 && option.get_type_size() != 0; }

std::string placeholder_of(const CLI::Option& option) {
  if (!takes_value(option)) return "";
  static const std::set<std::string> numbers = {"INT", "UINT", "FLOAT"};
  const std::string type = type_of(option);
  if (numbers.count(type) == 0) return type;
  return option.get_description().find("seconds") != std::string::npos ? "SECONDS" : "N";
}

Value value_of(const Option& option) {
  static const std::set<std::string> files = {"FILE", "PATH"}, directories = {"DIR", "FOLDER", "DIRECTORY"},
                                     numbers = {"N", "SECONDS", "BYTES", "PORT"};
  const std::string& name = option.is_argument() ? option.names.front() : option.placeholder;
  if (option.placeholder.empty()) return Value::none;
  if (!option.choices.empty()) return Value::choice;
  if (files.count(name) > 0) return Value::file;
  if (directories.count(name) > 0) return Value::directory;
  return numbers.count(name) > 0 ? Value::number : Value::text;
}

std::vector<std::string> names_of(const std::set<CLI::Option*>& options) {
  std::vector<std::string> names;
  for (const CLI::Option* option : options) names.push_back(option->get_name());
  std::sort(names.begin(), names.end());  // the set has them in the order of their addresses
  return names;
}

std::string text_of(const CLI::Option& option) {
  std::vector<std::string> remarks;
  if (const auto choices = choices_of(option); !choices.empty()) remarks.push_back("one of " + join(choices, ", "));
  if (!option.get_default_str().empty()) remarks.push_back("default: " + option.get_default_str());
  if (!option.get_needs().empty()) remarks.push_back("only with " + join(names_of(option.get_needs()), ", "));
  if (!option.get_excludes().empty()) remarks.push_back("not with " + join(names_of(option.get_excludes()), ", "));
  return option.get_description() + (remarks.empty() ? "" : " (" + join(remarks, "; ") + ")");
}

Option read_option(const CLI::Option& from) {
  Option option;
  for (const std::string& name : from.get_snames()) option.names.push_back("-" + name);
  for (const std::string& name : from.get_lnames()) option.names.push_back("--" + name);
  if (option.names.empty()) option.names.push_back(from.get_name(true, false));
  option.placeholder = placeholder_of(from);
  option.choices = choices_of(from);
  option.value = value_of(option);
  option.text = text_of(from);
  option.is_required = from.get_required();
  option.is_repeated = from.get_expected_max() == CLI::detail::expected_max_vector_size;
  return option;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// Without what all lines begin with.
void unindent(std::vector<std::string>& lines) {
  std::size_t indent = std::string::npos;
  for (const std::string& line : lines) {
    if (!line.empty()) indent = std::min(indent, line.find_first_not_of(' '));
  }
  for (std::string& line : lines) line.erase(0, std::min(indent, line.size()));
}

void read_paragraph(Page& page, std::vector<std::string> lines) {
  const std::string& first = lines.front();
  if (first.starts_with("Example")) {
    const std::size_t label = first.find(':') + 1;
    lines.front().replace(0, label, label, ' ');
    unindent(lines);
    page.examples = std::move(lines);
  } else if (first.starts_with("Exit code")) {
    page.exit_codes = std::move(lines);
  } else {
    page.notes.push_back(join(lines, "\n"));
  }
}

void read_footer(Page& page, const std::string& footer) {
  std::vector<std::string> paragraph;
  for (const std::string& line : lines_of(footer + "\n\n")) {
    if (!line.empty()) {
      paragraph.push_back(line);
    } else if (!paragraph.empty()) {
      read_paragraph(page, std::move(paragraph));
      paragraph.clear();
    }
  }
}

/// `text`, with what follows beginning in a column of its own.
std::string entry(const std::string& label, const std::string& text, std::size_t columns) {
  constexpr std::size_t indent = 24;
  const std::size_t width = columns > indent + 24 ? columns - indent : columns - 6;
  const std::string margin(columns > indent + 24 ? indent : 6, ' ');
  std::string out = "  " + label;
  const bool has_own_line = out.size() + 2 > margin.size();
  out += has_own_line ? "\n" + margin : std::string(margin.size() - out.size(), ' ');
  return out + join(wrap(text, width), "\n" + margin) + "\n";
}

/// "  23  the output could not be written", with what does not fit on the line below the text.
std::string exit_code(const std::string& line, std::size_t columns) {
  const std::size_t text = line.find_first_not_of(' ', line.find(' ', line.find_first_not_of(' ')));
  const std::string margin(text, ' ');
  return line.substr(0, text) + join(wrap(line.substr(text), columns - text), "\n" + margin) + "\n";
}

std::string list(const std::string& title, const std::vector<Option>& options, std::size_t columns) {
  if (options.empty()) return "";
  std::string out = "\n" + title + ":\n";
  for (const Option& option : options) out += entry(option.usage(), option.text, columns);
  return out;
}

}  // namespace

std::string join(const std::vector<std::string>& parts, const std::string& between) {
  std::string text;
  for (std::size_t i = 0; i < parts.size(); ++i) text += (i > 0 ? between : "") + parts[i];
  return text;
}

std::vector<std::string> wrap(const std::string& text, std::size_t columns) {
  std::vector<std::string> lines;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    if (!lines.empty() && lines.back().size() + 1 + word.size() <= columns) {
      lines.back() += " " + word;
    } else {
      lines.push_back(word);
    }
  }
  return lines;
}

bool is_laid_out(const std::string& paragraph) {
  return paragraph.starts_with(" ") || paragraph.find("\n ") != paragraph.npos;
}

std::string Option::usage() const {
  if (!is_argument()) return join(names, ", ") + (placeholder.empty() ? "" : " " + placeholder);
  const std::string name = names.front() + (is_repeated ? "..." : "");
  return is_required ? name : "[" + name + "]";
}

std::string Page::usage() const {
  std::string text = name + " [OPTIONS]";
  for (const Option& option : options)
    if (option.is_required) text += " " + option.names.back() + " " + option.placeholder;
  for (const Option& argument : arguments) text += " " + argument.usage();
  return commands.empty() ? text : text + " COMMAND ...";
}

Page read_page(const CLI::App& app) {
  Page page;
  page.name = app.get_parent() == nullptr ? app.get_name() : app.get_parent()->get_name() + " " + app.get_name();
  page.summary = app.get_description();
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    (option->nonpositional() ? page.options : page.arguments).push_back(read_option(*option));
  }
  for (const CLI::App* command : app.get_subcommands([](const CLI::App* sub) { return !sub->get_group().empty(); })) {
    Page entry;
    entry.name = command->get_name();
    entry.summary = command->get_description();
    page.commands.push_back(std::move(entry));
  }
  read_footer(page, app.get_footer());
  return page;
}

std::string to_help(const Page& page, std::size_t columns) {
  std::string out = join(wrap(page.summary + (page.summary.ends_with('.') ? "" : "."), columns), "\n") + "\n\n";
  out += "Usage: " + page.usage() + "\n";
  out += list("Arguments", page.arguments, columns) + list("Options", page.options, columns);
  if (!page.commands.empty()) out += "\nCommands:\n";
  for (const Page& command : page.commands) out += entry(command.name, command.summary, columns);
  if (!page.examples.empty()) out += "\nExamples:\n";
  for (const std::string& line : page.examples) out += "  " + line + "\n";
  for (const std::string& note : page.notes) {
    out += "\n" + (is_laid_out(note) ? note : join(wrap(note, columns), "\n")) + "\n";
  }
  if (!page.exit_codes.empty()) out += "\n";
  std::string prose;
  const auto flush = [&] {
    if (!prose.empty()) out += join(wrap(prose, columns), "\n") + "\n";
    prose.clear();
  };
  for (const std::string& line : page.exit_codes) {
    if (!line.starts_with(" ")) {
      prose += line + " ";
      continue;
    }
    flush();
    out += exit_code(line, columns);
  }
  flush();
  return out;
}

}  // namespace tool::reference
