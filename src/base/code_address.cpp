#include "base/code_address.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#if __has_include(<elfutils/libdwfl.h>)
#include <elfutils/libdwfl.h>
#define TULP_HAVE_LIBDW 1
#endif

namespace tulp {
namespace {

std::string demangled(const char* symbol) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(abi::__cxa_demangle(symbol, nullptr, nullptr, &status),
                                                         std::free);
  return status == 0 && name ? name.get() : symbol;
}

const char* base_name(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash != nullptr ? slash + 1 : path;
}

struct Lines {
  std::string line, function;
};

#ifdef TULP_HAVE_LIBDW

/// libdw, loaded when the first report wants it: programs that never report pay nothing, and a system without it
/// reports function names only.
class Libdw {
 public:
  static Libdw* get() {
    static Libdw libdw;
    return libdw.session_ != nullptr ? &libdw : nullptr;
  }

  Lines look_up(std::uintptr_t address) {
    Dwfl_Module* module = addrmodule_(session_, address);
    if (module == nullptr) return {};
    Lines found;
    if (const char* symbol = addrname_(module, address)) found.function = demangled(symbol);
    found.line = line_of(module, address);
    return found;
  }

 private:
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
    callbacks_.find_elf = symbol<decltype(callbacks_.find_elf)>("dwfl_linux_proc_find_elf");
    callbacks_.find_debuginfo = symbol<decltype(callbacks_.find_debuginfo)>("dwfl_standard_find_debuginfo");
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
    // clang writes no index of addresses: ask each compilation unit.
    Dwarf_Addr bias = 0;
    for (Dwarf_Die* unit = nextcu_(module, nullptr, &bias); unit != nullptr; unit = nextcu_(module, unit, &bias)) {
      if (haspc_(unit, address - bias) <= 0) continue;
      Dwarf_Line* at = getsrc_die_(unit, address - bias);
      int line = 0;
      if (at == nullptr || lineno_(at, &line) != 0) return {};
      return to_line(linesrc_(at, nullptr, nullptr), line);
    }
    return {};
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
};

Lines look_up(std::uintptr_t address) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  Libdw* libdw = Libdw::get();
  return libdw != nullptr ? libdw->look_up(address) : Lines{};
}

#else

Lines look_up(std::uintptr_t) { return {}; }

#endif

}  // namespace

std::string describe_code_address(const void* return_address) {
  if (return_address == nullptr) return "an unknown place";
  // A return address is the instruction after the call, which may belong to the next line: look at the call itself.
  const auto address = reinterpret_cast<std::uintptr_t>(return_address) - 1;
  Lines found = look_up(address);
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

}  // namespace tulp
