// tulp port-check: which blocking calls a program imports, which of them tulp takes over, and what to do about the rest.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "command.hpp"
#include "output.hpp"
#include "port/advice.hpp"
#include "port/image.hpp"
#include "terminal.hpp"

namespace tool {
namespace {

namespace fs = std::filesystem;
using port::Fate;
using port::Image;

constexpr auto has_blocking_calls = static_cast<ExitCode>(10);

struct PortCheckSettings {
  std::vector<std::string> paths;
  bool follows_needed = false;
  bool is_json = false;
};

/// What is to be said of one file.
struct Finding {
  fs::path path;
  std::string kind;
  std::vector<std::string> taken_over;
  std::map<std::string, std::set<std::string>> blocks;   // names by advice
  std::map<std::string, std::set<std::string>> look_at;  // the same
  std::vector<std::string> needed;
};

constexpr const char* on_static =
    "static: nothing can stand before its libc, and nothing tells what it calls; link it dynamically, or call "
    "tulp::posix:: in its source";
constexpr const char* on_own_names =
    "it has these itself, and means its own (-Bsymbolic): what calls them does not come to tulp-blocking";

/// What the linker knows of C++ as people do, without parameters: "std::thread::join".
std::string readable(const std::string& name);

Finding examine(const Image& image) {
  Finding finding;
  finding.path = image.path;
  finding.needed = image.needed;
  finding.kind = image.is_static ? "static program" : image.is_program ? "program" : "library";
  if (image.is_static) finding.blocks[on_static];
  for (const std::string& name : image.imports) {
    const port::Verdict verdict = port::judge(name);
    switch (verdict.fate) {
      case Fate::taken_over: finding.taken_over.push_back(name); break;
      case Fate::blocks: finding.blocks[verdict.advice].insert(readable(name)); break;
      case Fate::look_at: finding.look_at[verdict.advice].insert(readable(name)); break;
      case Fate::harmless: break;
    }
  }
  for (const std::string& name : image.exports)
    if (image.is_symbolic && port::is_taken_over(name)) finding.blocks[on_own_names].insert(name);
  return finding;
}

std::string readable(const std::string& name) {
  static const std::pair<std::string, const char*> known[] = {
      {"_ZNSt6thread4join", "std::thread::join"},
      {"_ZNSt6thread15_M_start_thread", "std::thread"},
      {"_ZNSt18condition_variable", "std::condition_variable::wait"},
      {"_ZSt3cin", "std::cin"},
      {"_ZSt4cout", "std::cout"}};
  for (const auto& [prefix, text] : known)
    if (name.compare(0, prefix.size(), prefix) == 0) return text;
  return name;
}

template <class Names>
std::string joined(const Names& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
  return text;
}

/// In lines of at most 100 characters.
std::string wrapped(const std::string& text, const std::string& indent) {
  constexpr std::size_t width = 100;
  std::string lines;
  std::string line = indent;
  for (std::size_t at = 0, end = 0; at < text.size(); at = end + 1) {
    end = std::min(text.find(' ', at), text.size());
    if (line.size() + end - at >= width && line.size() > indent.size()) lines += std::exchange(line, indent) + "\n";
    line += (line.size() > indent.size() ? " " : "") + text.substr(at, end - at);
  }
  return lines + line + "\n";
}

std::string describe(const std::map<std::string, std::set<std::string>>& names_by_advice) {
  std::string text;
  for (const auto& [advice, names] : names_by_advice) {
    if (!names.empty()) text += wrapped(joined(names), "    ");
    text += wrapped(advice, names.empty() ? "    " : "        ");
  }
  return text;
}

std::string describe(const Finding& finding) {
  std::string text = finding.path.string() + ": " + finding.kind + "\n";
  if (!finding.taken_over.empty())
    text += "  taken over by tulp-blocking\n" + wrapped(joined(finding.taken_over), "    ");
  if (!finding.blocks.empty()) text += "  blocks the thread\n" + describe(finding.blocks);
  if (!finding.look_at.empty()) text += "  to be looked at\n" + describe(finding.look_at);
  if (finding.taken_over.empty() && finding.blocks.empty() && finding.look_at.empty()) text += "  nothing to do\n";
  return text;
}

nlohmann::ordered_json to_json(const std::map<std::string, std::set<std::string>>& names_by_advice) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& [advice, names] : names_by_advice) list.push_back({{"names", names}, {"advice", advice}});
  return list;
}

nlohmann::ordered_json to_json(const Finding& finding) {
  return {{"path", finding.path.string()},       {"kind", finding.kind},
          {"taken_over", finding.taken_over},    {"blocks", to_json(finding.blocks)},
          {"look_at", to_json(finding.look_at)}, {"needed", finding.needed}};
}

/// The C library's calls of itself have no names, and tulp knows what it does.
bool is_below_names(const std::string& library) {
  for (const char* const prefix :
       {"libc.so", "libm.so", "ld-linux", "libpthread.so", "libdl.so", "librt.so", "libtulp"})
    if (library.rfind(prefix, 0) == 0) return true;
  return false;
}

ExitCode check(const PortCheckSettings& settings) {
  std::vector<Finding> findings;
  bool has_failed = false;
  std::set<std::string> seen;
  std::vector<fs::path> paths(settings.paths.begin(), settings.paths.end());
  for (std::size_t i = 0; i < paths.size(); ++i) {
    std::error_code error;
    if (const auto canonical = fs::weakly_canonical(paths[i], error); !seen.insert(canonical.string()).second) continue;
    try {
      const Image image = port::read_image(paths[i]);
      findings.push_back(examine(image));
      if (!settings.follows_needed) continue;
      for (const std::string& name : image.needed) {
        if (is_below_names(name)) continue;
        if (fs::path found = port::find_needed(image, name); !found.empty()) {
          paths.push_back(std::move(found));
        } else if (seen.insert(name).second) {
          has_failed = true;
          complain("tulp port-check", paths[i].string() + " needs " + name + ", which is not to be found");
        }
      }
    } catch (const Failure& failure) {
      has_failed = true;
      complain("tulp port-check", failure.what());
    }
  }
  bool is_any_blocking = false;
  std::string text;
  auto list = nlohmann::ordered_json::array();
  for (const Finding& finding : findings) {
    is_any_blocking |= !finding.blocks.empty();
    text += (text.empty() ? "" : "\n") + describe(finding);
    list.push_back(to_json(finding));
  }
  if (settings.is_json)
    text = nlohmann::ordered_json{{"files", list}}.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  write_all(STDOUT_FILENO, text, "stdout");
  return has_failed ? ExitCode::failed : is_any_blocking ? has_blocking_calls : ExitCode::ok;
}

constexpr const char* help_text = R"(Example: tulp port-check --deps ./server
         tulp port-check --json /usr/lib/x86_64-linux-gnu/libpq.so.5 | jq '.files[].blocks'

Reads what the files import, without running them.  Three lists: what tulp-blocking takes over in tasks that
are created with blocking_calls = park; what blocks the thread, and with it every task; and what does not, or
not always, but is not the same in a task as in a thread.  Each with what to do.  What a program calls by itself
and not by libc's names (syscall, assembly, stdio inside of libc) is not seen.

Exit code: that nothing blocks is 0.
   1  a file could not be read, is no program or library of this machine, or a library was not found
   2  bad arguments
  10  some calls block the thread
  23  the output could not be written)";

}  // namespace

void add_port_check(CLI::App& app, Command& chosen) {
  const auto settings = std::make_shared<PortCheckSettings>();
  CLI::App* command = app.add_subcommand("port-check", "Say which blocking calls of a program tasks can park in");
  command->add_option("FILE", settings->paths, "Programs and libraries (ELF)")->required();
  command->add_flag("--deps", settings->follows_needed, "Also the libraries that they need, but for libc");
  command->add_flag("--json", settings->is_json, "Print JSON");
  command->footer(help_text);
  command->callback([&chosen, settings] { chosen = [settings] { return check(*settings); }; });
}

}  // namespace tool
