// Pages as man(1) reads them: man(7).
#include <string>
#include <string_view>

#include "reference/page.hpp"

namespace tool::reference {
namespace {

/// Nothing of it means anything to roff, wherever it stands.
std::string escaped(std::string_view text) {
  std::string out;
  bool begins_line = true;
  for (const char c : text) {
    if (begins_line && (c == '.' || c == '\'')) out += "\\&";
    begins_line = c == '\n';
    switch (c) {
      case '\\': out += "\\e"; break;
      case '-': out += "\\-"; break;
      case '\'': out += "\\(aq"; break;
      case '`': out += "\\(ga"; break;
      case '^': out += "\\(ha"; break;
      case '~': out += "\\(ti"; break;
      default: out += c;
    }
  }
  return out;
}

std::string bold(std::string_view text) { return "\\fB" + escaped(text) + "\\fR"; }
std::string italic(std::string_view text) { return "\\fI" + escaped(text) + "\\fR"; }

/// "tulp fetch" is tulp-fetch(1).
std::string page_name(const std::string& name) {
  std::string text = name;
  for (char& c : text) c = c == ' ' ? '-' : c;
  return text;
}

std::string upper(std::string text) {
  for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return text;
}

std::string laid_out(const std::vector<std::string>& lines) {
  std::string out = ".nf\n";
  for (const std::string& line : lines) out += escaped(line) + "\n";
  return out + ".fi\n";
}

std::string sentence(const std::string& text) { return text + (text.ends_with('.') ? "" : "."); }

std::string without_period(const std::string& text) {
  return text.substr(0, text.size() - (text.ends_with('.') ? 1 : 0));
}

std::string describe(const Option& option) {
  std::string label;
  for (const std::string& name : option.names) {
    label += (label.empty() ? "" : ", ") + (option.is_argument() ? italic(name) : bold(name));
  }
  if (!option.is_argument() && !option.placeholder.empty()) label += " " + italic(option.placeholder);
  if (option.is_argument() && option.is_repeated) label += " ...";
  return ".TP\n" + label + "\n" + escaped(sentence(option.text)) + "\n";
}

std::string synopsis(const Page& page) {
  std::string text = bold(page.name) + " [" + italic("OPTIONS") + "]";
  for (const Option& option : page.options)
    if (option.is_required) text += " " + bold(option.names.back()) + " " + italic(option.placeholder);
  for (const Option& argument : page.arguments) {
    const std::string name = italic(argument.names.front()) + (argument.is_repeated ? " ..." : "");
    text += argument.is_required ? " " + name : " [" + name + "]";
  }
  return text + (page.commands.empty() ? "" : " " + italic("COMMAND") + " ...") + "\n";
}

/// A line that is indented is an entry, the others are prose; "Exit codes:" says no more than the heading.
std::string exit_status(const Page& page) {
  std::string out;
  bool was_entry = false;
  for (const std::string& line : page.exit_codes) {
    const std::size_t begin = line.find_first_not_of(' ');
    const bool is_entry = begin > 0;
    if (is_entry) {
      const std::size_t end = line.find(' ', begin);
      const std::size_t text = line.find_first_not_of(' ', end);
      out += ".TP\n" + bold(line.substr(begin, end - begin)) + "\n" + escaped(line.substr(text)) + "\n";
    } else if (line != "Exit codes:") {
      out += (was_entry ? ".PP\n" : "") + escaped(line) + "\n";
    }
    was_entry = is_entry;
  }
  return out;
}

}  // namespace

std::string to_roff(const Page& page) {
  std::string out = ".TH " + upper(page_name(page.name)) + " 1 \"\" \"tulp " TULP_VERSION "\" \"User Commands\"\n";
  out += ".SH NAME\n" + escaped(page_name(page.name)) + " \\- " + escaped(without_period(page.summary)) + "\n";
  out += ".SH SYNOPSIS\n" + synopsis(page);
  out += ".SH DESCRIPTION\n" + escaped(sentence(page.summary)) + "\n";
  for (const std::string& note : page.notes)
    out += ".PP\n" + (is_laid_out(note) ? laid_out({note}) : escaped(note) + "\n");
  out += ".SH OPTIONS\n";
  for (const Option& argument : page.arguments) out += describe(argument);
  for (const Option& option : page.options) out += describe(option);
  if (!page.commands.empty()) out += ".SH COMMANDS\n";
  for (const Page& command : page.commands) {
    out += ".TP\n" + bold(page.name + "-" + command.name) + "(1)\n" + escaped(sentence(command.summary)) + "\n";
  }
  if (!page.exit_codes.empty()) out += ".SH EXIT STATUS\n" + exit_status(page);
  if (!page.examples.empty()) out += ".SH EXAMPLES\n" + laid_out(page.examples);
  out += ".SH SEE ALSO\n";
  return out + (page.commands.empty() ? bold("tulp") + "(1)\n" : bold("curl") + "(1), " + bold("socat") + "(1)\n");
}

}  // namespace tool::reference
