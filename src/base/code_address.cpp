#include "base/code_address.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#if __has_include(<elfutils/libdwfl.h>)
#include <dwarf.h>
#include <elfutils/libdwfl.h>
#define TULP_HAVE_LIBDW 1
#endif

namespace tulp {
namespace {

std::string demangled(const char* symbol) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(abi::__cxa_demangle(symbol, nullptr, nullptr, &status),
                                                         std::free);
  std::string text = status == 0 && name ? name.get() : symbol;
  return text.substr(0, text.find(" [clone "));  // a part that the compiler has split off has no name of its own
}

const char* base_name(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash != nullptr ? slash + 1 : path;
}

struct SourceLines {
  std::string line, function;
};

using AllLines =
    std::vector<SourceLines>;  // of one address, innermost first: a function that was inlined, and its callers

#ifdef TULP_HAVE_LIBDW

/// libdw, loaded when the first report wants it: programs that never report pay nothing, and a system without it
/// reports function names only.
class Libdw {
 public:
  static Libdw* get() {
    static Libdw libdw;
    return libdw.session_ != nullptr ? &libdw : nullptr;
  }

  SourceLines look_up(std::uintptr_t address) {
    Dwfl_Module* module = addrmodule_(session_, address);
    if (module == nullptr) return {};
    SourceLines found;
    if (const char* symbol = addrname_(module, address)) found.function = demangled(symbol);
    found.line = line_of(module, address);
    return found;
  }

  AllLines look_up_all(std::uintptr_t address) {
    AllLines all{look_up(address)};
    Dwfl_Module* module = addrmodule_(session_, address);
    Dwarf_Addr bias = 0;
    Dwarf_Die* unit = module != nullptr ? unit_of(module, address, bias) : nullptr;
    if (unit != nullptr && !all.front().line.empty()) add_inlined(all, unit, address - bias);
    return all;
  }

 private:
  struct Free {
    void operator()(Dwarf_Die* dies) const noexcept { std::free(dies); }
  };
  using Dies = std::unique_ptr<Dwarf_Die[], Free>;
  Libdw() {
    library_ = ::dlopen("libdw.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr) return;
    const auto begin = symbol<decltype(&::dwfl_begin)>("dwfl_begin");
    const auto report = symbol<decltype(&::dwfl_linux_proc_report)>("dwfl_linux_proc_report");
    const auto report_end = symbol<decltype(&::dwfl_report_end)>("dwfl_report_end");
    addrmodule_ = symbol<decltype(addrmodule_)>("dwfl_addrmodule");
    addrname_ = symbol<decltype(addrname_)>("dwfl_module_addrname");
    getsrc_ = symbol<decltype(getsrc_)>("dwfl_module_getsrc");
    lineinfo_ = symbol<decltype(lineinfo_)>("dwfl_lineinfo");
    nextcu_ = symbol<decltype(nextcu_)>("dwfl_module_nextcu");
    haspc_ = symbol<decltype(haspc_)>("dwarf_haspc");
    getsrc_die_ = symbol<decltype(getsrc_die_)>("dwarf_getsrc_die");
    lineno_ = symbol<decltype(lineno_)>("dwarf_lineno");
    linesrc_ = symbol<decltype(linesrc_)>("dwarf_linesrc");
    addrdie_ = symbol<decltype(addrdie_)>("dwfl_module_addrdie");
    getscopes_ = symbol<decltype(getscopes_)>("dwarf_getscopes");
    getscopes_die_ = symbol<decltype(getscopes_die_)>("dwarf_getscopes_die");
    tag_ = symbol<decltype(tag_)>("dwarf_tag");
    diename_ = symbol<decltype(diename_)>("dwarf_diename");
    attribute_ = symbol<decltype(attribute_)>("dwarf_attr_integrate");
    formstring_ = symbol<decltype(formstring_)>("dwarf_formstring");
    formudata_ = symbol<decltype(formudata_)>("dwarf_formudata");
    getsrcfiles_ = symbol<decltype(getsrcfiles_)>("dwarf_getsrcfiles");
    filesrc_ = symbol<decltype(filesrc_)>("dwarf_filesrc");
    callbacks_.find_elf = symbol<decltype(callbacks_.find_elf)>("dwfl_linux_proc_find_elf");
    callbacks_.find_debuginfo =
        symbol<decltype(callbacks_.find_debuginfo)>("dwfl_build_id_find_debuginfo");  // asks no server
    if (!all_found_) return;
    Dwfl* session = begin(&callbacks_);
    if (session == nullptr) return;
    if (report(session, ::getpid()) == 0 && report_end(session, nullptr, nullptr) == 0) session_ = session;
  }

  static std::string to_line(const char* file, int line) {
    return file != nullptr ? std::string(base_name(file)) + ":" + std::to_string(line) : std::string();
  }

  std::string line_of(Dwfl_Module* module, std::uintptr_t address) {
    if (Dwfl_Line* at = getsrc_(module, address)) {
      int line = 0;
      const char* file = lineinfo_(at, nullptr, &line, nullptr, nullptr, nullptr);
      return to_line(file, line);
    }
    Dwarf_Addr bias = 0;
    Dwarf_Die* unit = unit_of(module, address, bias);
    Dwarf_Line* at = unit != nullptr ? getsrc_die_(unit, address - bias) : nullptr;
    int line = 0;
    if (at == nullptr || lineno_(at, &line) != 0) return {};
    return to_line(linesrc_(at, nullptr, nullptr), line);
  }

  Dwarf_Die* unit_of(Dwfl_Module* module, std::uintptr_t address, Dwarf_Addr& bias) {
    if (Dwarf_Die* unit = addrdie_(module, address, &bias)) return unit;
    // clang writes no index of addresses: ask each compilation unit.
    for (Dwarf_Die* unit = nextcu_(module, nullptr, &bias); unit != nullptr; unit = nextcu_(module, unit, &bias))
      if (haspc_(unit, address - bias) > 0) return unit;
    return nullptr;
  }

  /// `all` has the innermost line, and the name of the function that was not inlined.
  void add_inlined(AllLines& all, Dwarf_Die* unit, Dwarf_Addr address) {
    Dwarf_Die* found = nullptr;
    int count = getscopes_(unit, address, &found);
    const Dies innermost(found);
    if (count <= 0) return;
    found = nullptr;
    count = getscopes_die_(&innermost[0], &found);  // how they are nested in the code, and not where they were defined
    const Dies scopes(found);
    const std::string outermost = std::move(all.front().function);
    for (int i = 0; i < count; ++i) {
      if (tag_(&scopes[i]) != DW_TAG_inlined_subroutine) continue;
      all.back().function = name_of(&scopes[i]);
      all.push_back({called_at(unit, &scopes[i]), {}});
    }
    all.back().function = outermost;
  }

  std::string name_of(Dwarf_Die* die) {
    Dwarf_Attribute attribute;
    if (const char* symbol = formstring_(attribute_(die, DW_AT_linkage_name, &attribute))) return demangled(symbol);
    const char* name = diename_(die);
    return name != nullptr ? name : "";
  }

  std::string called_at(Dwarf_Die* unit, Dwarf_Die* inlined) {
    Dwarf_Attribute attribute;
    Dwarf_Word file = 0, line = 0;
    Dwarf_Files* files = nullptr;
    if (formudata_(attribute_(inlined, DW_AT_call_file, &attribute), &file) != 0 ||
        formudata_(attribute_(inlined, DW_AT_call_line, &attribute), &line) != 0 ||
        getsrcfiles_(unit, &files, nullptr) != 0)
      return {};
    return to_line(filesrc_(files, file, nullptr, nullptr), static_cast<int>(line));
  }

  template <class Function>
  Function symbol(const char* name) {
    void* found = ::dlsym(library_, name);
    if (found == nullptr) all_found_ = false;
    return reinterpret_cast<Function>(found);
  }

  void* library_ = nullptr;
  Dwfl* session_ = nullptr;  // never ended: it lives as long as the process
  Dwfl_Callbacks callbacks_{};
  bool all_found_ = true;
  decltype(&::dwfl_addrmodule) addrmodule_ = nullptr;
  decltype(&::dwfl_module_addrname) addrname_ = nullptr;
  decltype(&::dwfl_module_getsrc) getsrc_ = nullptr;
  decltype(&::dwfl_lineinfo) lineinfo_ = nullptr;
  decltype(&::dwfl_module_nextcu) nextcu_ = nullptr;
  decltype(&::dwarf_haspc) haspc_ = nullptr;
  decltype(&::dwarf_getsrc_die) getsrc_die_ = nullptr;
  decltype(&::dwarf_lineno) lineno_ = nullptr;
  decltype(&::dwarf_linesrc) linesrc_ = nullptr;
  decltype(&::dwfl_module_addrdie) addrdie_ = nullptr;
  decltype(&::dwarf_getscopes) getscopes_ = nullptr;
  decltype(&::dwarf_getscopes_die) getscopes_die_ = nullptr;
  decltype(&::dwarf_tag) tag_ = nullptr;
  decltype(&::dwarf_diename) diename_ = nullptr;
  decltype(&::dwarf_attr_integrate) attribute_ = nullptr;
  decltype(&::dwarf_formstring) formstring_ = nullptr;
  decltype(&::dwarf_formudata) formudata_ = nullptr;
  decltype(&::dwarf_getsrcfiles) getsrcfiles_ = nullptr;
  decltype(&::dwarf_filesrc) filesrc_ = nullptr;
};

std::mutex one_at_a_time;

/// Stacks have most of their addresses in common, tasks the places where they were created, and a look-up takes a
/// millisecond.
template <class Found>
Found look_up_once(std::uintptr_t address, Found (Libdw::*look_up)(std::uintptr_t), const Found& nothing) {
  static auto& known = *new std::unordered_map<std::uintptr_t, Found>;
  const std::lock_guard lock(one_at_a_time);
  Libdw* libdw = Libdw::get();
  if (libdw == nullptr) return nothing;
  const auto found = known.find(address);
  return found != known.end() ? found->second : known[address] = (libdw->*look_up)(address);
}

SourceLines look_up(std::uintptr_t address) { return look_up_once(address, &Libdw::look_up, SourceLines()); }
AllLines look_up_all(std::uintptr_t address) { return look_up_once(address, &Libdw::look_up_all, AllLines(1)); }

#else

SourceLines look_up(std::uintptr_t) { return {}; }
AllLines look_up_all(std::uintptr_t) { return AllLines(1); }

#endif

/// A return address is the instruction after the call, which may belong to the next line: look at the call itself.
std::uintptr_t address_of_call(const void* return_address) {
  return reinterpret_cast<std::uintptr_t>(return_address) - 1;
}

/// What the dynamic linker knows, if `found` lacks it.
std::string describe_lines(SourceLines found, std::uintptr_t address) {
  ::Dl_info info{};
  const bool known = ::dladdr(reinterpret_cast<void*>(address), &info) != 0;
  if (found.function.empty() && known && info.dli_sname != nullptr) found.function = demangled(info.dli_sname);
  if (!found.line.empty()) return found.function.empty() ? found.line : found.line + " (" + found.function + ")";
  if (!found.function.empty()) return found.function;
  if (!known || info.dli_fname == nullptr) return "an unknown place";
  char offset[32];
  std::snprintf(offset, sizeof offset, "+0x%zx", address - reinterpret_cast<std::uintptr_t>(info.dli_fbase));
  return std::string(base_name(info.dli_fname)) + offset;
}

/// The name without the type that a template's name begins with, and without arguments.
std::string_view bare_name(std::string_view function) {
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t i = 0; i < function.size(); ++i) {
    const char c = function[i];
    if (c == '<')
      ++depth;
    else if (c == '>' && depth > 0)
      --depth;
    else if (depth == 0 && c == ' ')
      begin = i + 1;
    else if (depth == 0 && (c == '(' || c == '{'))
      return function.substr(begin, i - begin);
  }
  return function.substr(begin);
}

/// Where the program ends that the library has called.
bool runs_program(std::string_view function) {
  const std::string_view name = bare_name(function);
  return name.starts_with("tulp::detail::") && (name.ends_with("::run") || name.ends_with("::call") ||
                                                name.ends_with("::call_protocol") || name.ends_with("::execute"));
}

/// Whether it lies between a function of the program and the library's that calls it, or that it calls.  An inlined
/// function may have no more than its last name.
bool is_between(const SourceLines& place) {
  const std::string_view name = bare_name(place.function);
  const std::string_view line = place.line;
  return name.starts_with("tulp::detail::") || name.starts_with("tulp::Fiber::") || name.starts_with("std::") ||
         line.starts_with("invoke.h:") || line.starts_with("functional:") || line.starts_with("tuple:");
}

}  // namespace

std::string describe_code_address(const void* return_address) {
  if (return_address == nullptr) return "an unknown place";
  const auto address = address_of_call(return_address);
  return describe_lines(look_up(address), address);
}

std::string describe_call_stack(std::string_view title, std::span<const void* const> return_addresses) {
  AllLines lines;
  std::vector<std::uintptr_t> addresses;
  bool is_over = false;
  for (auto at = return_addresses.begin(); at != return_addresses.end() && !is_over; ++at) {
    const auto address = address_of_call(*at);
    for (SourceLines& line : look_up_all(address)) {
      is_over = is_over || (!lines.empty() && runs_program(line.function));
      if (is_over) break;
      lines.push_back(std::move(line));
      addresses.push_back(address);
    }
  }
  std::size_t count = lines.size();
  while (count > 1 && is_between(lines[count - 1])) --count;
  if (count == 0) return {};
  std::size_t begin = 0;
  while (begin + 1 < count && is_between(lines[begin])) ++begin;
  std::string text = "  " + std::string(title) + "\n";
  for (std::size_t i = begin; i < count; ++i) text += "    " + describe_lines(std::move(lines[i]), addresses[i]) + "\n";
  return text;
}

}  // namespace tulp
